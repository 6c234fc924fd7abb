"""``QuantizedTensor``: a weight matrix as codes, scales and what else its format asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.formats import Format
from plait.models.formats.packing import code_dtype
from plait.models.quantize.layout import Layout, code_bits_stored, position_bits
from plait.models.quantize.scales import SCALE_CODE_BITS

__all__ = ["QuantizedTensor", "check_array"]

_WEIGHTS_AT_ONCE = 1 << 20  # bounds the temporaries of decoding


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedTensor:
    """A quantised matrix; weight = scale * value(code), or scale * (code - zero).

    Attributes:
        format: the number format.
        codes: [outputs, inputs] uint8, or uint16 for formats of 16 bits; not packed. With a
            codebook: one code a vector, the shape that ``format.code_shape`` gives.
        group_size: weights along a row that share a scale (the row's length if per channel or
            tensor); the last group of a row may be short.
        scales: float32 [outputs, groups], second level included.
        selectors: uint8 [outputs, groups], which grid of the format; all 0 where it has one.
        zeros: uint8 [outputs, groups] (int8 if the format's are signed), or None for symmetric
            formats.
        scale_codes: uint8 [outputs, groups] where scales are stored as codes: second level (an
            integer), MX (E8M0), NVFP4 (E4M3).
        channel_steps: float16 [outputs] of the second level; scale = scale code * step.
        per_tensor: all groups share one stored scale.
        extras: further arrays that a format or method stores, by name and as stored: codebooks,
            outliers, ``input_scales`` (float16 [inputs]; the weights are divided by them).
        size: (outputs, inputs) where the codes' shape does not say it.
        scale_bits: bits of a stored scale that is no code: 32, or 16 (the scales are then FP16
            numbers).
        kept: bool [outputs, inputs], the weights that pruning left; None = all.
        kept_layout: how their places are stored: ``index`` (4 bits a kept weight) or ``mask``
            (1 bit a weight).
        notes: what the method did otherwise than asked, a sentence each; not stored.

    >>> import numpy as np
    >>> from plait.models.quantize import quantize
    >>> small = quantize(np.array([[0.3, -0.5, 1.1, 3.0]]), "fp4", group_size=4)
    >>> small.codes.tolist(), small.dequantize().tolist()
    ([[1, 10, 4, 7]], [[0.25, -0.5, 1.0, 3.0]])
    """

    format: Format
    codes: NDArray[np.unsignedinteger[Any]]
    group_size: int
    scales: NDArray[np.float32]
    selectors: NDArray[np.uint8]
    zeros: NDArray[np.uint8] | None = None
    scale_codes: NDArray[np.uint8] | None = None
    channel_steps: NDArray[np.float16] | None = None
    per_tensor: bool = False
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    scale_bits: int = 32
    kept: NDArray[np.bool_] | None = None
    kept_layout: Layout = "mask"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or not self.codes.size:
            raise FormatError(
                "not a matrix", where="codes", got=self.codes.shape, expected="[outputs, inputs]"
            )
        if not 1 <= self.group_size <= self.shape[1]:
            raise FormatError(
                "not a group size", got=self.group_size, expected=f"1 to {self.shape[1]}"
            )
        if self.format.is_asymmetric != (self.zeros is not None):
            raise FormatError("zero points belong to asymmetric formats", where=self.format.name)
        grouped = (self.shape[0], self.groups)
        expected = self.format.code_shape(*self.shape)
        check_array("codes", self.codes, code_dtype(self.format.code_bits), expected)
        zeros = np.int8 if self.format.signed_zeros else np.uint8
        check_array("scales", self.scales, np.float32, grouped)
        for name, dtype in (("selectors", np.uint8), ("zeros", zeros), ("scale_codes", np.uint8)):
            if getattr(self, name) is not None:
                check_array(name, getattr(self, name), dtype, grouped)
        if self.kept is not None:
            check_array("kept", self.kept, np.bool_, self.shape)
        if self.channel_steps is not None:
            check_array("channel_steps", self.channel_steps, np.float16, grouped[:1])

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        return self.size or (self.codes.shape[0], self.codes.shape[1])

    @property
    def groups(self) -> int:
        """Groups of a row."""
        return -(-self.shape[1] // self.group_size)

    @property
    def bits_per_weight(self) -> float:
        """Bits a weight as stored: codes, scales, selectors, zero points and extras."""
        return sum(self.storage_bits().values()) / math.prod(self.shape)

    def storage_bits(self) -> dict[str, int]:
        """Bits of each part as stored, before padding to bytes."""
        fmt = self.format
        scaled = 1 if self.per_tensor else self.scales.size
        bits = {"codes": code_bits_stored(fmt, self.codes, self.kept, self.extras)}
        if self.kept is not None:
            bits["positions"] = position_bits(self.kept, self.kept_layout)
        if self.scale_codes is not None:
            bits["scale_codes"] = SCALE_CODE_BITS * scaled
        elif fmt.is_scaled:
            bits["scales"] = self.scale_bits * scaled
        if self.channel_steps is not None:
            bits["channel_steps"] = 16 * self.channel_steps.size
        if fmt.selector_bits:
            bits["selectors"] = fmt.selector_bits * scaled
        if self.zeros is not None:
            bits["zeros"] = fmt.zero_bits * scaled
        return bits | {name: 8 * array.nbytes for name, array in self.extras.items()}

    def dequantize(self) -> NDArray[np.float32]:
        """The weights that the codes mean, float32 [outputs, inputs]."""
        outputs, inputs = self.shape
        if not self.format.has_table:
            from plait.models.quantize.codebooks import decode_codebook

            return self._finished(decode_codebook(self))
        weight = np.empty(self.shape, np.float32)
        rows = max(1, _WEIGHTS_AT_ONCE // inputs)
        for start in range(0, outputs, rows):
            part = slice(start, start + rows)
            selector = self._by_weight(self.selectors[part]) if self.format.selector_bits else 0
            values = self.format.decode(self.codes[part], selector)
            if self.zeros is not None:
                values -= self._by_weight(self.zeros[part])
            weight[part] = values * self._by_weight(self.scales[part])
        return self._finished(weight)

    def _finished(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pruned weights are 0, and a scale of the inputs is taken back."""
        if self.kept is not None:
            weight = np.where(self.kept, weight, np.float32(0))
        if "input_scales" in self.extras:
            scales: NDArray[np.float32] = self.extras["input_scales"].astype(np.float32)
            weight = (weight / scales).astype(np.float32)
        return weight

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, packed; it appears whole or not at all."""
        from plait.models.quantize.storage import save_tensors

        save_tensors(path, {"weight": self})

    @classmethod
    def load(cls, path: str | Path) -> QuantizedTensor:
        """Read a file of one tensor; FormatError in one line for any other file."""
        from plait.models.quantize.storage import load_tensors

        tensors = load_tensors(path)
        if len(tensors) != 1:
            raise FormatError(
                "not one tensor", where=str(path), got=len(tensors), expected="use load_tensors"
            )
        return next(iter(tensors.values()))

    def _by_weight(self, grouped: NDArray[Any]) -> NDArray[Any]:
        """[rows, groups] repeated to [rows, inputs]."""
        return np.repeat(grouped, self.group_size, axis=1)[:, : self.shape[1]]


def check_array(name: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    """Refuse an array of another type or shape, in one line."""
    if array.dtype != dtype or array.shape != shape:
        raise FormatError(
            "an array of the wrong kind",
            where=name,
            got=f"{array.dtype} {list(array.shape)}",
            expected=f"{np.dtype(dtype)} {list(shape)}",
        )
