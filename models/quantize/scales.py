"""The scale of each group, a rule a format family; all in FP32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.olive import OutlierVictimFormat
from plait.models.quantize import _kernels

__all__ = [
    "SCALE_CODE_BITS",
    "affine_scales",
    "block_scales",
    "grid_scales",
    "largest_weights",
    "mean_scales",
    "outlier_scales",
    "power_of_two_codes",
    "second_level",
    "two_level_codes",
]

_SMALLEST_SCALE = np.float32(1e-5)
_LARGEST_SCALE = np.float32(1e4)
SCALE_CODE_BITS = 8
_LARGEST_CODE = (1 << SCALE_CODE_BITS) - 1
_ALPHA_FACTORS = np.arange(75, 150, 2) / 100
_E8M0_BIAS = 127
_SMALLEST_E4M3 = 2.0**-9
_SMALLEST_TENSOR_SCALE = np.float32(2.0**-117)  # times 2^-9 it is still a normal FP32 number

Float32 = NDArray[np.float32]


def largest_weights(weight: Float32, group_size: int, per_tensor: bool) -> Float32:
    """max|w| of each group (of all, if per tensor): [outputs, groups]."""
    low, high = _kernels.group_range(weight, group_size)
    largest = np.maximum(-low, high)
    return np.full_like(largest, largest.max()) if per_tensor else largest


def affine_scales(
    weight: Float32, group_size: int, per_tensor: bool, largest_code: int
) -> tuple[Float32, NDArray[np.uint8]]:
    """(max - min) / largest code and round(-min / scale): scales and zeros [outputs, groups].

    A group of equal weights has no range; zero is then taken into it, which keeps it exact.
    """
    low, high = _kernels.group_range(weight, group_size)
    if per_tensor:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    flat = low == high
    low, high = np.where(flat, np.minimum(low, 0), low), np.where(flat, np.maximum(high, 0), high)
    scales = (high - low) / np.float32(largest_code)
    scales = np.where(scales > 0, scales, _SMALLEST_SCALE)
    if not np.isfinite(scales).all():
        raise FormatError("a range of weights beyond FP32", got=float(np.abs(weight).max()))
    return scales, np.rint(-low / scales).clip(0, largest_code).astype(np.uint8)


def grid_scales(fmt: Format, largest_weight: Float32) -> Float32:
    """max|w| / max|grid| for each candidate grid: [outputs, groups, selectors].

    Integers are not clamped; their group of zeros gets the smallest scale, because a scale of
    zero has no inverse.
    """
    ends = [np.abs(fmt.grid(selector)).max() for selector in range(fmt.selectors)]
    scales = largest_weight[..., np.newaxis] / np.array(ends, np.float32)
    if fmt.scale_rule == "absmax_integer":
        return np.where(scales > 0, scales, _SMALLEST_SCALE)
    return scales.clip(_SMALLEST_SCALE, _LARGEST_SCALE)


def mean_scales(weight: Float32, group_size: int, per_tensor: bool) -> Float32:
    """max(mean|w|, 1e-5): [outputs, groups]."""
    inputs = weight.shape[1]
    starts = np.arange(0, inputs, group_size)
    sums = np.add.reduceat(np.abs(weight), starts, axis=1, dtype=np.float64)
    if per_tensor:
        sums = np.full_like(sums, sums.sum() / weight.size)
    else:
        sums /= np.diff(starts, append=inputs)
    return np.maximum(sums.astype(np.float32), _SMALLEST_SCALE)


def outlier_scales(
    fmt: OutlierVictimFormat, weight: Float32, group_size: int, per_tensor: bool
) -> Float32:
    """OliVe's candidates [outputs, groups, 38]: alpha / largest normal value.

    alpha starts at max(|mean + 3 sigma|, |mean - 3 sigma|) = |mean| + 3 sigma, sigma being the
    population's, and is tried at 75 % to 149 % of that in steps of 2 %.
    """
    starts = np.arange(0, weight.shape[1], group_size)
    counts = np.diff(starts, append=weight.shape[1]).astype(np.float64)
    sums = np.add.reduceat(weight, starts, axis=1, dtype=np.float64)
    squares = np.add.reduceat(np.square(weight, dtype=np.float64), starts, axis=1)
    if per_tensor:
        counts = np.full(counts.shape, float(weight.size))
        sums, squares = np.full_like(sums, sums.sum()), np.full_like(squares, squares.sum())
    mean = sums / counts
    alpha = np.abs(mean) + 3 * np.sqrt(np.maximum(squares / counts - mean**2, 0))
    scales = alpha[..., np.newaxis] * _ALPHA_FACTORS / fmt.largest_normal
    return scales.astype(np.float32).clip(_SMALLEST_SCALE, _LARGEST_SCALE)


def second_level(scales: Float32) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Scales as 8-bit integers times one FP16 step a channel, the largest scale / 255.

    The step is rounded up to FP16 and the integers follow the rounded step. Steps of small weights
    are subnormal FP16 numbers, a few per cent apart: rounded down, 255 of them would not reach the
    largest scale, and a whole group would shrink.

    Returns:
        codes uint8 [outputs, groups] in 1..255, steps float16 [outputs].
    """
    exact = scales.max(axis=1) / np.float32(_LARGEST_CODE)
    with np.errstate(over="ignore"):
        steps = exact.astype(np.float16)
    steps = np.where(steps < exact, np.nextafter(steps, np.float16(np.inf)), steps)
    if not np.isfinite(steps).all():
        raise FormatError("a scale is too large for an FP16 step", got=float(scales.max()))
    codes = np.rint(scales / steps.astype(np.float32)[:, np.newaxis])
    return codes.clip(1, _LARGEST_CODE).astype(np.uint8), steps


def power_of_two_codes(fmt: Format, largest_weight: Float32) -> NDArray[np.uint8]:
    """E8M0 code of 2^(floor(log2 max|w|) - emax), the exponent clamped; a block of zeros gets 0."""
    _, element_exponent = np.frexp(np.abs(fmt.grid()).max())
    _, exponent = np.frexp(largest_weight)  # w = m * 2^e with m in [0.5, 1), so floor(log2) = e - 1
    shared = np.where(largest_weight > 0, exponent - element_exponent, -_E8M0_BIAS)
    return (shared.clip(-_E8M0_BIAS, _E8M0_BIAS) + _E8M0_BIAS).astype(np.uint8)


def two_level_codes(fmt: Format, largest_weight: Float32) -> tuple[NDArray[np.uint8], Float32]:
    """E4M3 code of each block's scale, and the FP32 scale of the tensor [1]."""
    e4m3 = formats.get("fp8-e4m3")
    element_end = np.float32(np.abs(fmt.grid()).max())
    tensor_scale = np.float32(largest_weight.max() / (element_end * np.float32(e4m3.grid()[-1])))
    tensor_scale = max(tensor_scale, _SMALLEST_TENSOR_SCALE)
    codes = e4m3.encode(largest_weight / (element_end * tensor_scale))
    smallest = e4m3.encode(_SMALLEST_E4M3)  # a scale of zero has no inverse
    return np.maximum(codes, smallest).astype(np.uint8), np.array([tensor_scale], np.float32)


def block_scales(
    fmt: Format, codes: NDArray[np.uint8], further: NDArray[np.floating[Any]] | None
) -> Float32:
    """The scales that stored codes mean, [outputs, groups].

    Args:
        codes: uint8 [outputs, groups].
        further: the FP32 scale of the tensor [1] (NVFP4), None (MX), or the FP16 step of each
            channel [outputs] (second level).
    """
    if fmt.scale_rule == "power_of_two":
        return np.ldexp(np.float32(1), codes.astype(np.int32) - _E8M0_BIAS)
    factor = np.asarray(further, np.float32).reshape(-1, 1)
    if fmt.scale_rule == "two_level":
        return formats.get("fp8-e4m3").decode(codes) * factor
    return codes.astype(np.float32) * factor
