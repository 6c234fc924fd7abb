"""AWQ: scale the inputs that matter before rounding, then clip (arXiv 2306.00978).

The scale of an input is a power of its mean magnitude, the exponent searched by output error;
weights are multiplied by it and inputs divided. In a model it folds into the operator before; here
the tensor keeps it (``input_scales``), so that it stands alone and counts its bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.packing import code_dtype
from plait.models.quantize.calibrate import Statistics, as_statistics
from plait.models.quantize.gptq import check_scale_bits, stored_scales
from plait.models.quantize.granularity import Granularity, PerTensor
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["GroupCodes", "ScaleSearch", "awq", "clip_search", "range_codes", "scale_search"]

_RATIOS = 20
_CLIPS = 10
_CLIP_TOKENS = 512
_SMALLEST_RANGE = 1e-5

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GroupCodes:
    """Codes int64 [outputs, inputs]; scales and zeros [outputs, groups]; quantised weights."""

    codes: NDArray[np.int64]
    scales: Float64
    zeros: Float64
    quantised: Float64


@dataclass(frozen=True, slots=True, eq=False)
class ScaleSearch:
    """The best exponent, its scales [inputs], the codes of the scaled weights, the output error."""

    ratio: float
    scales: Float64
    codes: GroupCodes
    output_mse: float


def range_codes(weight: Float64, bits: int, group_size: int) -> GroupCodes:
    """Round to the range of each group, zero not included; the zero point is clamped."""
    groups = _grouped(weight, group_size)
    largest = (1 << bits) - 1
    high, low = groups.max(axis=2), groups.min(axis=2)
    scales = np.maximum(high - low, _SMALLEST_RANGE) / largest
    zeros = np.clip(-np.rint(low / scales), 0, largest)
    codes = np.clip(np.rint(groups / scales[..., None]) + zeros[..., None], 0, largest)
    values = (codes - zeros[..., None]) * scales[..., None]
    return GroupCodes(
        codes.reshape(weight.shape).astype(np.int64), scales, zeros, values.reshape(weight.shape)
    )


def scale_search(
    weight: Float64, statistics: Statistics, bits: int, group_size: int
) -> ScaleSearch:
    """Try the exponents 0, 0.05, .. 0.95 of the mean magnitudes; the smallest output error wins."""
    best: ScaleSearch | None = None
    for step in range(_RATIOS):
        ratio = step / _RATIOS
        factors = np.maximum(statistics.mean_abs**ratio, 1e-4)
        factors /= np.sqrt(factors.max() * factors.min())
        codes = range_codes(weight * factors, bits, group_size)
        error = statistics.output_mse(codes.quantised / factors - weight)
        if best is None or error < best.output_mse:
            best = ScaleSearch(ratio, factors, codes, error)
    assert best is not None
    return best


def clip_search(weight: Float64, statistics: Statistics, bits: int, group_size: int) -> Float64:
    """The limit of each group [outputs, groups] that gives its part of the output least error.

    Tried are 100 %, 95 %, .. 55 % of the largest magnitude; at most 512 tokens are looked at.
    """
    sample = statistics.sample
    sample = sample[:: max(1, sample.shape[0] // _CLIP_TOKENS)]
    groups = _grouped(weight, group_size)
    largest = np.abs(groups).max(axis=2)
    parts = sample.reshape(sample.shape[0], -1, group_size).transpose(1, 0, 2)
    grams = np.matmul(parts.transpose(0, 2, 1), parts)
    best_error = np.full(largest.shape, np.inf)
    best = largest.copy()
    for step in range(_CLIPS):
        limit = largest * (1 - step / _RATIOS)
        clipped = np.clip(groups, -limit[..., None], limit[..., None])
        values = range_codes(clipped.reshape(weight.shape), bits, group_size).quantised
        difference = _grouped(values, group_size) - groups
        error = np.einsum("ogk,gkl,ogl->og", difference, grams, difference, optimize=True)
        better = error < best_error
        best_error, best = np.where(better, error, best_error), np.where(better, limit, best)
    return best


def awq(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity,
    scale_bits: int | None = None,
    inputs: Any = None,
    clip: bool = True,
) -> QuantizedTensor:
    """Quantise one matrix by AWQ; scales are stored in FP16 unless asked otherwise.

    Args:
        weight: [outputs, inputs].
        format: integers with a zero point, as ``int4-asym``.
        granularity: groups, which must divide the inputs.
        scale_bits: 16 (the default) or 32.
        inputs: calibration data [tokens, inputs].
        clip: search clipping limits after the scales.
    """
    fmt = formats.get(format)
    if not fmt.is_asymmetric or fmt.signed_zeros:
        raise FormatError(
            "not for this method", where="method awq", got=fmt.name, expected="int4-asym"
        )
    matrix = check_weight(weight).astype(np.float64)
    size = even_groups(matrix, granularity, "awq")
    statistics = as_statistics(inputs, matrix.shape[1], "awq")
    found = scale_search(matrix, statistics, fmt.code_bits, size)
    factors = found.scales.astype(np.float16).astype(np.float64)
    scaled, codes = matrix * factors, found.codes
    if clip:
        seen = Statistics(
            statistics.gram / np.outer(factors, factors),
            statistics.mean_abs / factors,
            statistics.max_abs / factors,
            statistics.sample / factors,
            statistics.tokens,
        )
        limits = clip_search(scaled, seen, fmt.code_bits, size)[..., None]
        clipped = np.clip(_grouped(scaled, size), -limits, limits).reshape(scaled.shape)
        codes = range_codes(clipped, fmt.code_bits, size)
    bits = check_scale_bits(scale_bits, "awq")
    return QuantizedTensor(
        format=fmt,
        codes=codes.codes.astype(code_dtype(fmt.code_bits)),
        group_size=size,
        scales=stored_scales(codes.scales, bits),
        selectors=np.zeros(codes.scales.shape, np.uint8),
        zeros=codes.zeros.astype(np.uint8),
        scale_bits=bits,
        extras={"input_scales": found.scales.astype(np.float16)},
        notes=statistics.notes,
    )


def even_groups(weight: Float64, granularity: Granularity, method: str) -> int:
    """The group size, which must divide the inputs."""
    inputs = weight.shape[1]
    size = granularity.group_size(inputs)
    if isinstance(granularity, PerTensor) or inputs % size:
        raise FormatError(
            "groups must divide the inputs",
            where=f"method {method}: group_size",
            got=size,
            expected=f"a divisor of {inputs}",
        )
    return size


def _grouped(weight: Float64, group_size: int) -> Float64:
    return weight.reshape(weight.shape[0], -1, group_size)
