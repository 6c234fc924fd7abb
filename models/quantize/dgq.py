"""DGQ, dual grained quantisation: INT4 groups that expand to INT8 rows (arXiv 2310.04836).

A weight is (code - zero) * integer scale * row scale; the first product is an INT8 number exactly,
so an unchanged INT8 array sums whole rows and one scale is left for the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.awq import even_groups
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = [
    "DualCodes",
    "Smoothing",
    "bits_per_weight",
    "dgq",
    "group_search",
    "row_search",
    "smoothing",
    "token_codes",
]

_GROUP_STEPS = 20
_ROW_STEPS = 80
_LARGEST_CODE = 15
_LARGEST_INT8 = 127
_SMALLEST_RANGE = 1e-8

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DualCodes:
    """The search's result; groups along the inputs.

    Attributes:
        codes: int64 [outputs, inputs] in 0..15.
        zeros: int64 [outputs, groups], not clamped.
        int_scales: int64 [outputs, groups].
        row_scales: float64 [outputs].
    """

    codes: NDArray[np.int64]
    zeros: NDArray[np.int64]
    int_scales: NDArray[np.int64]
    row_scales: Float64

    @property
    def int8_weights(self) -> NDArray[np.int64]:
        """What the expander hands to the INT8 array, [outputs, inputs]."""
        size = self.codes.shape[1] // self.zeros.shape[1]
        spread = [np.repeat(part, size, axis=1) for part in (self.zeros, self.int_scales)]
        return (self.codes - spread[0]) * spread[1]

    @property
    def quantised(self) -> Float64:
        """The weights that the codes mean."""
        return self.int8_weights * self.row_scales[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Smoothing:
    """Percentile clipping: the rank, the magnitude of that rank, a factor an input."""

    rank: int
    baseline: float
    factors: Float64


def group_search(weight: Float64, sample: Float64, group_size: int) -> tuple[Float64, Float64]:
    """Phase 1: scale and zero of each group [outputs, groups], by its part of the output."""
    groups = weight.reshape(weight.shape[0], -1, group_size)
    parts = sample.reshape(sample.shape[0], -1, group_size).transpose(1, 0, 2)  # [g, T, k]
    grams = np.matmul(parts.transpose(0, 2, 1), parts)
    high, low = groups.max(axis=2), groups.min(axis=2)
    best = np.full(high.shape, np.inf)
    scales, zeros = np.empty(high.shape), np.empty(high.shape)
    for step in range(_GROUP_STEPS):
        ratio = 1.02 - 0.011 * (step + 1)
        scale = np.maximum(ratio * (high - low), _SMALLEST_RANGE) / _LARGEST_CODE
        zero = np.rint(-ratio * low / scale)
        clipped = np.clip(groups, ratio * low[..., None], ratio * high[..., None])
        codes = np.clip(np.rint(clipped / scale[..., None]) + zero[..., None], 0, _LARGEST_CODE)
        difference = groups - scale[..., None] * (codes - zero[..., None])
        moved = np.matmul(difference.transpose(1, 0, 2), grams).transpose(1, 0, 2)
        error = (moved * difference).sum(axis=2)
        better = error < best
        best = np.where(better, error, best)
        scales, zeros = np.where(better, scale, scales), np.where(better, zero, zeros)
    return scales, zeros


def row_search(weight: Float64, sample: Float64, scales: Float64, zeros: Float64) -> DualCodes:
    """Phase 2: the row scale of least error of the whole output, groups as phase 1 left them."""
    largest = np.abs(weight).max(axis=1)
    largest = np.where(largest > 0, largest, _SMALLEST_RANGE)
    narrow = sample if sample.shape[0] <= weight.shape[1] else _square_root(sample)
    best = np.full(weight.shape[0], np.inf)
    chosen = largest / _LARGEST_INT8
    for step in range(_ROW_STEPS):
        row_scales = (1.02 - 0.01025 * (step + 1)) * largest / _LARGEST_INT8
        difference = _rounding_errors(weight, scales, zeros, row_scales)
        error = np.square(narrow @ difference.T).sum(axis=0)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, row_scales, chosen)
    return _expand(weight, scales, zeros, chosen)


def smoothing(max_abs: Float64, fraction: float = 0.005) -> Smoothing:
    """Percentile clipping of the inputs: those above the k-th largest magnitude come down to it.

    Args:
        max_abs: largest magnitude of each input.
        fraction: of the inputs, which gives k = int(fraction * inputs + 1.5).
    """
    rank = int(fraction * max_abs.size + 1.5)
    baseline = float(np.sort(max_abs)[-rank])
    if baseline < 1e-4:
        return Smoothing(rank, baseline, np.ones(max_abs.size))
    return Smoothing(rank, baseline, np.maximum(max_abs / baseline, 1.0))


def token_codes(inputs: Float64) -> tuple[NDArray[np.int64], Float64]:
    """INT8 activations, one scale a token: codes [tokens, inputs] and scales [tokens]."""
    scales = np.abs(inputs).max(axis=1) / _LARGEST_INT8
    scales = np.where(scales > 0, scales, 1.0)
    return np.rint(inputs / scales[:, None]).astype(np.int64), scales


def bits_per_weight(inputs: int, group_size: int, zero_bits: int = 8) -> float:
    """4-bit codes, an 8-bit scale and a zero a group, an FP16 scale a row."""
    return 4 + (8 + zero_bits) / group_size + 16 / inputs


def dgq(
    weight: NDArray[Any],
    format: str | Format = "int4-dual",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    inputs: Any = None,
) -> QuantizedTensor:
    """Quantise one matrix by DGQ's two searches.

    Args:
        weight: [outputs, inputs].
        format: ``int4-dual``.
        granularity: groups, which must divide the inputs.
        scale_bits: 8, which the format fixes; or None.
        inputs: calibration data [tokens, inputs]; the search sees its last sample.
    """
    fmt = formats.get(format)
    if fmt.name != "int4-dual" or granularity is None or scale_bits not in (None, 8):
        raise FormatError(
            "not for this method", where="method dgq", got=fmt.name, expected="int4-dual"
        )
    matrix = check_weight(weight).astype(np.float64)
    size = even_groups(matrix, granularity, "dgq")
    statistics = as_statistics(inputs, matrix.shape[1], "dgq")
    scales, zeros = group_search(matrix, statistics.sample, size)
    out = np.abs(zeros) > _LARGEST_INT8
    notes = statistics.notes
    if out.any():  # a narrow group far from zero: zero joins its range
        grouped = matrix.reshape(matrix.shape[0], -1, size)
        high, low = np.maximum(grouped.max(axis=2), 0), np.minimum(grouped.min(axis=2), 0)
        wide = np.maximum(high - low, _SMALLEST_RANGE) / _LARGEST_CODE
        scales, zeros = np.where(out, wide, scales), np.where(out, np.rint(-low / wide), zeros)
        notes += (f"{int(out.sum())} groups far from zero: their range was extended to it",)
    found = row_search(matrix, statistics.sample, scales, zeros)
    steps = np.maximum(found.row_scales.astype(np.float16), np.float16(6e-8))
    return QuantizedTensor(
        format=fmt,
        codes=found.codes.astype(np.uint8),
        group_size=size,
        scales=(found.int_scales * steps.astype(np.float64)[:, None]).astype(np.float32),
        selectors=np.zeros(found.zeros.shape, np.uint8),
        zeros=found.zeros.astype(np.int8),
        scale_codes=found.int_scales.astype(np.uint8),
        channel_steps=steps,
        notes=notes,
    )


def _expand(weight: Float64, scales: Float64, zeros: Float64, row_scales: Float64) -> DualCodes:
    """Codes for given row scales; no INT8 weight leaves -127..127."""
    size = weight.shape[1] // scales.shape[1]
    integer = np.clip(np.rint(scales / row_scales[:, None]), 1, 255)
    margin = np.floor(_LARGEST_INT8 / integer)
    step = integer * row_scales[:, None]
    limit = _LARGEST_INT8 * row_scales[:, None]
    groups = np.clip(weight, -limit, limit).reshape(weight.shape[0], -1, size)
    codes = np.rint(groups / step[..., None]) + zeros[..., None]
    low, high = np.maximum(zeros - margin, 0), np.minimum(zeros + margin, _LARGEST_CODE)
    codes = np.clip(codes, low[..., None], high[..., None])
    return DualCodes(
        codes.reshape(weight.shape).astype(np.int64),
        zeros.astype(np.int64),
        integer.astype(np.int64),
        row_scales,
    )


@numba.njit(cache=True)
def _rounding_errors(weight, scales, zeros, row_scales):
    """weight - _expand(...).quantised, for a search that needs nothing else of 80 of them."""
    errors = np.empty_like(weight)
    size = weight.shape[1] // scales.shape[1]
    for o in range(weight.shape[0]):
        limit = _LARGEST_INT8 * row_scales[o]
        for g in range(scales.shape[1]):
            integer = min(max(np.rint(scales[o, g] / row_scales[o]), 1.0), 255.0)
            margin, zero = np.floor(_LARGEST_INT8 / integer), zeros[o, g]
            step = integer * row_scales[o]
            low, high = max(zero - margin, 0.0), min(zero + margin, float(_LARGEST_CODE))
            group = weight[o][g * size : (g + 1) * size]
            wrong = errors[o][g * size : (g + 1) * size]
            for k in range(size):
                code = np.rint(min(max(group[k], -limit), limit) / step) + zero
                code = min(max(code, low), high)
                wrong[k] = group[k] - (code - zero) * integer * row_scales[o]
    return errors


def _square_root(sample: Float64) -> Float64:
    """R [inputs, inputs] with R^T R = X^T X: as good as the sample, and shorter."""
    return np.asarray(np.linalg.qr(sample, mode="r"), dtype=np.float64)
