"""Quantised tensors in a safetensors file, codes packed in the bit order of formats.packing.

Entries are named ``<tensor>.<part>``; the header's metadata holds, a tensor each, one JSON object
with its format, shape and group size under the tensor's name, and says ``"writer": "plait"``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError, PlaitError
from plait.files import write_atomically
from plait.models import formats
from plait.models.formats import Format, pack_codes, unpack_codes
from plait.models.quantize.layout import pack_matrix, pack_positions, unpack_kept, unpack_matrix
from plait.models.quantize.scales import block_scales
from plait.models.quantize.tensor import QuantizedTensor, check_array

__all__ = ["Header", "assemble", "header_of", "load_tensors", "save_tensors", "stored_parts"]

_WRITER = "plait"
_EXTRA = "extra."
_MOST_WEIGHTS = 1 << 40


def save_tensors(path: str | Path, tensors: Mapping[str, QuantizedTensor]) -> None:
    """Write tensors by name; the file appears whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays: dict[str, NDArray[Any]] = {}
    metadata = {"writer": _WRITER}
    for name, tensor in tensors.items():
        if name in metadata or not name:
            raise FormatError("no name for a tensor", where=str(path), got=name)
        metadata[name] = json.dumps(header_of(tensor))
        for part, array in stored_parts(tensor).items():
            arrays[f"{name}.{part}"] = np.ascontiguousarray(array)
    with write_atomically(path) as temporary:
        try:
            save_file(arrays, temporary, metadata=metadata)
        except SafetensorError as error:  # a full disk, too
            what = str(error).rpartition("I/O error: ")[2].lower()
            raise FormatError(f"cannot be written: {what}", where=str(path)) from None


def load_tensors(path: str | Path) -> dict[str, QuantizedTensor]:
    """Read what ``save_tensors`` wrote; FormatError in one line for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise FormatError("no such file", where=str(path)) from None
    except (OSError, SafetensorError) as error:
        raise FormatError(
            f"not a whole safetensors file: {str(error).splitlines()[0]}", where=str(path)
        ) from error
    if metadata.get("writer") != _WRITER:
        raise FormatError(
            "not a file of quantised tensors", where=str(path), expected="one that plait wrote"
        )
    names = [name for name in metadata if name != "writer"]
    return {name: _read(path, name, metadata[name], arrays) for name in names}


@dataclass(frozen=True, slots=True)
class Header:
    """What the arrays of a stored tensor do not say themselves."""

    format: Format
    outputs: int
    inputs: int
    group_size: int
    per_tensor: bool

    @property
    def grouped(self) -> tuple[int, int]:
        return self.outputs, -(-self.inputs // self.group_size)

    @property
    def stored(self) -> tuple[int, int]:
        """Shape of what is stored once a group, or once."""
        return (1, 1) if self.per_tensor else self.grouped


def header_of(tensor: QuantizedTensor) -> dict[str, Any]:
    """The header of a tensor, as JSON takes it."""
    return {
        "format": tensor.format.name,
        "shape": list(tensor.shape),
        "group_size": tensor.group_size,
        "per_tensor": tensor.per_tensor,
    }


def stored_parts(tensor: QuantizedTensor) -> dict[str, NDArray[Any]]:
    """The arrays as stored; what can be computed from others is left out."""
    fmt = tensor.format
    once = (slice(0, 1), slice(0, 1)) if tensor.per_tensor else (slice(None), slice(None))
    codes = pack_matrix(fmt, tensor.codes, tensor.kept, tensor.extras)
    parts: dict[str, NDArray[Any]] = {"codes": codes}
    if tensor.kept is not None:
        parts |= pack_positions(tensor.kept, tensor.kept_layout)
    if tensor.scale_codes is not None:
        parts["scale_codes"] = tensor.scale_codes[once]
    elif fmt.is_scaled:
        dtype = np.float16 if tensor.scale_bits == 16 else np.float32
        parts["scales"] = tensor.scales[once].astype(dtype)
    if tensor.channel_steps is not None:
        parts["channel_steps"] = tensor.channel_steps
    if fmt.selector_bits:
        parts["selectors"] = pack_codes(tensor.selectors[once], fmt.selector_bits)
    if tensor.zeros is not None:
        parts["zeros"] = pack_codes(tensor.zeros[once].view(np.uint8), fmt.zero_bits)
    return parts | {_EXTRA + name: array for name, array in tensor.extras.items()}


def _read(
    path: str | Path, name: str, text: str, arrays: Mapping[str, NDArray[Any]]
) -> QuantizedTensor:
    parts = {
        key.removeprefix(f"{name}."): array
        for key, array in arrays.items()
        if key.startswith(f"{name}.")
    }
    try:
        tensor = assemble(_parse_header(text), parts)
        if not np.isfinite(tensor.dequantize()).all():
            raise FormatError("codes without a value", where="codes")
        return tensor
    except PlaitError as error:
        raise FormatError(f"damaged: {error}", where=f"{path}: {name}") from error
    except KeyError as error:
        raise FormatError(
            "an array is missing", where=f"{path}: {name}", got=error.args[0]
        ) from error
    except (IndexError, ValueError) as error:  # arrays that do not fit each other
        raise FormatError(f"damaged: {error}", where=f"{path}: {name}") from error


def _parse_header(text: str) -> Header:
    try:
        raw = json.loads(text)
        outputs, inputs = raw["shape"]
        sizes = outputs, inputs, raw["group_size"]
        per_tensor, format_name = raw["per_tensor"], raw["format"]
    except (ValueError, TypeError, KeyError):
        raise FormatError("not the description of a tensor", got=text) from None
    if not all(type(size) is int and size > 0 for size in sizes) or type(per_tensor) is not bool:
        raise FormatError("not the description of a tensor", got=text)
    if outputs * inputs > _MOST_WEIGHTS or raw["group_size"] > inputs:
        raise FormatError("absurd sizes", got=text)
    return Header(formats.get(format_name), outputs, inputs, raw["group_size"], per_tensor)


def assemble(header: Header, parts: Mapping[str, NDArray[Any]]) -> QuantizedTensor:
    """The inverse of ``stored_parts``; whether every code has a value is not checked."""
    fmt, grouped = header.format, header.grouped
    if fmt.group_size not in (None, header.group_size):
        raise FormatError(
            "the format fixes its own groups",
            where=fmt.name,
            got=header.group_size,
            expected=str(fmt.group_size),
        )
    extras = {k.removeprefix(_EXTRA): v for k, v in parts.items() if k.startswith(_EXTRA)}
    shape = header.outputs, header.inputs
    kept, kept_layout = unpack_kept(parts, shape)
    codes = unpack_matrix(fmt, _bytes(parts["codes"]), shape, kept, extras)
    scale_codes = parts.get("scale_codes")
    if scale_codes is not None:
        scale_codes = _grouped("scale_codes", scale_codes, np.uint8, header)
    selectors = np.zeros(grouped, np.uint8)
    if fmt.selector_bits:
        selectors = _small(parts, "selectors", fmt.selector_bits, header)
        if selectors.max() >= fmt.selectors:
            raise FormatError("no such grid", where="selectors", got=int(selectors.max()))
    return QuantizedTensor(
        format=fmt,
        codes=codes,
        group_size=header.group_size,
        scales=_scales(header, parts, scale_codes, extras),
        selectors=selectors,
        zeros=_zeros(parts, header),
        scale_codes=scale_codes,
        channel_steps=parts.get("channel_steps"),
        per_tensor=header.per_tensor,
        extras=extras,
        size=None if fmt.has_table else shape,
        scale_bits=16 if parts.get("scales", codes).dtype == np.float16 else 32,
        kept=kept,
        kept_layout=kept_layout,
    )


def _zeros(parts: Mapping[str, NDArray[Any]], header: Header) -> NDArray[Any] | None:
    if not header.format.is_asymmetric:
        return None
    zeros = _small(parts, "zeros", header.format.zero_bits, header)
    return zeros.view(np.int8) if header.format.signed_zeros else zeros


def _scales(
    header: Header,
    parts: Mapping[str, NDArray[Any]],
    scale_codes: NDArray[np.uint8] | None,
    extras: Mapping[str, NDArray[Any]],
) -> NDArray[np.float32]:
    fmt = header.format
    if not fmt.is_scaled:
        return np.ones(header.grouped, np.float32)
    if fmt.group_size and scale_codes is None:
        raise KeyError("scale_codes")
    if scale_codes is None:
        kind = np.float16 if parts["scales"].dtype == np.float16 else np.float32
        scales = _grouped("scales", parts["scales"], kind, header).astype(np.float32)
    elif fmt.scale_rule == "power_of_two":
        scales = block_scales(fmt, scale_codes, None)
    elif fmt.scale_rule == "two_level":
        check_array("tensor_scale", extras["tensor_scale"], np.float32, (1,))
        scales = block_scales(fmt, scale_codes, extras["tensor_scale"])
    else:
        check_array("channel_steps", parts["channel_steps"], np.float16, (header.outputs,))
        scales = block_scales(fmt, scale_codes, parts["channel_steps"])
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise FormatError("scales that are not positive numbers", where="scales")
    return scales


def _small(
    parts: Mapping[str, NDArray[Any]], name: str, bits: int, header: Header
) -> NDArray[np.uint8]:
    """Selectors or zero points, a packed code a group."""
    rows, columns = header.stored
    codes = unpack_codes(_bytes(parts[name]), rows * columns, bits)
    return _grouped(name, codes.reshape(rows, columns), np.uint8, header)


def _grouped(name: str, array: NDArray[Any], dtype: type, header: Header) -> NDArray[Any]:
    """What is stored a group or once, spread to [outputs, groups]."""
    check_array(name, array, dtype, header.stored)
    return np.ascontiguousarray(np.broadcast_to(array, header.grouped))


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    check_array("packed codes", array, np.uint8, (array.size,))
    return array
