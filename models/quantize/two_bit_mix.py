"""2, 4 and 16 bits in one matrix, after "Fast 2-bit LLM on GPUs" (arXiv 2311.16442).

Groups of 16 inputs get 2-bit codes, whose scales are 4-bit codes of a second-order scale for 16
rows; the groups that matter get 4 bits; the worst weights of the 2-bit groups stay in FP16. The
authors' rule for outliers and their exact bits are not published; the rules here are stated where
they are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format, pack_codes
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.gptq import stored_scales
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.layout import BLOCK, two_four_words
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["MixedCodes", "bits_per_weight", "mixed_codes", "two_bit_mix"]

_SECOND_LEVEL = 15  # largest 4-bit scale code

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MixedCodes:
    """Codes of a matrix; narrow groups are those of 2 bits, in column order.

    Attributes:
        codes: int64 [outputs, inputs].
        wide_groups: indices of the 4-bit column groups.
        steps: float64 [row blocks, narrow groups], the second-order scales.
        scale_codes, zeros: int64 [outputs, narrow groups].
        wide_scales, wide_zeros: [outputs, wide groups].
        quantised: float64 [outputs, inputs].
    """

    codes: NDArray[np.int64]
    wide_groups: NDArray[np.intp]
    steps: Float64
    scale_codes: NDArray[np.int64]
    zeros: NDArray[np.int64]
    wide_scales: Float64
    wide_zeros: NDArray[np.int64]
    quantised: Float64

    def words(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The main and the side array in memory; see plait.models.quantize.layout."""
        return two_four_words(self.codes, self.wide_groups)


def mixed_codes(
    weight: NDArray[Any], wide_fraction: float, sensitivity: Float64 | None = None
) -> MixedCodes:
    """Quantise in float64.

    Args:
        weight: [outputs, inputs], multiples of 16.
        wide_fraction: of the column groups that get 4 bits, rounded down.
        sensitivity: weight of each input in the choice (the Hessian's diagonal); None = 1.
    """
    matrix = np.asarray(weight, np.float64)
    outputs, inputs = matrix.shape
    if inputs % BLOCK or outputs % BLOCK:
        raise FormatError(
            "not whole blocks", where="weight", got=matrix.shape, expected=f"multiples of {BLOCK}"
        )
    groups = matrix.reshape(outputs, -1, BLOCK)
    high, low = np.maximum(groups.max(axis=2), 0), np.minimum(groups.min(axis=2), 0)
    importance = np.ones(inputs) if sensitivity is None else sensitivity
    score = np.square(high - low).sum(axis=0) * importance.reshape(-1, BLOCK).mean(axis=1)
    count = math.floor(wide_fraction * score.size)
    wide = np.sort(np.argsort(-score, kind="stable")[:count])
    narrow = np.setdiff1d(np.arange(score.size), wide)

    scales = np.where(high > low, high - low, 1.0) / 3
    zeros = np.rint(-low / scales)
    blocks = scales[:, narrow].reshape(-1, BLOCK, narrow.size)
    steps = blocks.max(axis=1) / _SECOND_LEVEL
    scale_codes = np.maximum(1, np.rint(blocks / steps[:, None])).reshape(outputs, narrow.size)
    rounded = np.repeat(steps, BLOCK, axis=0) * scale_codes
    wide_scales = np.where(high > low, high - low, 1.0)[:, wide] / 15
    wide_zeros = np.rint(-low[:, wide] / wide_scales)

    codes, values = np.empty((2, *groups.shape))
    for place, scale, zero, largest in (
        (narrow, rounded, zeros[:, narrow], 3),
        (wide, wide_scales, wide_zeros, 15),
    ):
        part = np.rint(groups[:, place] / scale[..., None]) + zero[..., None]
        codes[:, place] = np.clip(part, 0, largest)
        values[:, place] = (codes[:, place] - zero[..., None]) * scale[..., None]
    return MixedCodes(
        codes.reshape(matrix.shape).astype(np.int64),
        wide,
        steps,
        scale_codes.astype(np.int64),
        zeros[:, narrow].astype(np.int64),
        wide_scales,
        wide_zeros.astype(np.int64),
        values.reshape(matrix.shape),
    )


def bits_per_weight(wide_fraction: float = 0.1, outlier_fraction: float = 0.0) -> float:
    """As the paper's figure packs them: three groups' zeros and scale codes in one 16-bit unit.

    That clips two of three scale codes to 3 bits. A ``QuantizedTensor`` keeps 4 bits each and
    counts them: 2.4375 bits in a 2-bit group instead of 2.4167.

    Args:
        wide_fraction: of the weights in 4-bit groups.
        outlier_fraction: of all weights, each an FP16 value and a 16-bit column.
    """
    narrow = 2 + 16 / (3 * BLOCK) + 64 / (3 * BLOCK * BLOCK)
    wide = 4 + 20 / BLOCK
    return (1 - wide_fraction) * narrow + wide_fraction * wide + 32 * outlier_fraction


def two_bit_mix(
    weight: NDArray[Any],
    format: str | Format = "int2-int4",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    inputs: Any = None,
    wide_fraction: float = 0.1,
    outlier_fraction: float = 0.005,
) -> QuantizedTensor:
    """Quantise one matrix to 2, 4 and 16 bits.

    Args:
        weight: [outputs, inputs], multiples of 16.
        format: ``int2-int4``.
        granularity: ignored; groups are 16 x 16.
        scale_bits: None, because the format fixes its scales.
        inputs: calibration data [tokens, inputs]; without them ranges alone choose the groups.
        wide_fraction: of the column groups that get 4 bits.
        outlier_fraction: of the weights in 2-bit groups that stay FP16, largest errors first.
    """
    fmt = formats.get(format)
    if fmt.decoder != "two_four" or scale_bits is not None:
        raise FormatError(
            "not for this method", where="method two-bit-mix", got=fmt.name, expected="int2-int4"
        )
    for name, value in (("wide_fraction", wide_fraction), ("outlier_fraction", outlier_fraction)):
        if not 0 <= value < 1:
            raise FormatError("not a fraction", where=name, got=value, expected="0 to below 1")
    matrix = check_weight(weight)
    notes: tuple[str, ...] = ("no calibration data: ranges alone chose the 4-bit groups",)
    sensitivity = None
    if inputs is not None:
        statistics = as_statistics(inputs, matrix.shape[1], "two-bit-mix")
        sensitivity, notes = np.diag(statistics.hessian), statistics.notes
    found = mixed_codes(matrix, wide_fraction, sensitivity)
    extras: dict[str, NDArray[Any]] = {
        "wide_groups": found.wide_groups.astype(np.uint16),
        "steps": stored_scales(found.steps, 16).astype(np.float16),
        "scale_codes": pack_codes(found.scale_codes, 4),
        "zeros": pack_codes(found.zeros, 2),
        "wide_scales": stored_scales(found.wide_scales, 16).astype(np.float16),
        "wide_zeros": pack_codes(found.wide_zeros, 4),
    }
    if outlier_fraction:
        extras |= _outliers(matrix, found, outlier_fraction)
    return QuantizedTensor(
        format=fmt,
        codes=found.codes.astype(np.uint8),
        group_size=BLOCK,
        scales=np.ones((matrix.shape[0], matrix.shape[1] // BLOCK), np.float32),
        selectors=np.zeros((matrix.shape[0], matrix.shape[1] // BLOCK), np.uint8),
        extras=extras,
        size=(matrix.shape[0], matrix.shape[1]),
        notes=notes,
    )


def _outliers(
    matrix: NDArray[np.float32], found: MixedCodes, fraction: float
) -> dict[str, NDArray[Any]]:
    """The largest errors of the 2-bit groups, by row: counts, columns, FP16 values."""
    error = np.abs(matrix - found.quantised).reshape(matrix.shape[0], -1, BLOCK)
    error[:, found.wide_groups] = -1
    flat = error.reshape(-1)
    count = int(fraction * (flat >= 0).sum())
    places = np.sort(np.argsort(-flat, kind="stable")[:count])
    rows, columns = np.divmod(places, matrix.shape[1])
    return {
        "outlier_counts": np.bincount(rows, minlength=matrix.shape[0]).astype(np.uint16),
        "outlier_columns": columns.astype(np.uint16),
        "outlier_values": matrix[rows, columns].astype(np.float16),
    }
