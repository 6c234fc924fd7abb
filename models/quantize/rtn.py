"""Rounding to nearest: the method that looks at nothing but the weights.

A group tries every grid of the format, each with its own scale, and keeps the one of the smallest
mean squared error; the earlier one on a tie (BitMoD, ANT). OliVe searches its scale instead.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.olive import OutlierVictimFormat
from plait.models.formats.packing import code_dtype
from plait.models.quantize import _kernels
from plait.models.quantize import scales as rules
from plait.models.quantize.granularity import Granularity, PerGroup, PerTensor
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["candidate_errors", "quantize_array"]

_OWN_METHODS = {  # formats, or decoders, that more than rounding has to fill
    "int4-dual": "dgq",
    "palette": "edkm",
    "vector": "vptq",
    "additive": "aqlm",
    "two_four": "two-bit-mix",
}

Float32 = NDArray[np.float32]


def quantize_array(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity,
    scale_bits: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix.

    Args:
        weight: [outputs, inputs], finite; computed with in FP32.
        format: a format or its name.
        granularity: how many weights share a scale.
        scale_bits: None for FP32 scales; 8 for a second level (codes are chosen with FP32 scales
            and not rounded again).
    """
    fmt = formats.get(format)
    if fmt.name in _OWN_METHODS or not fmt.has_table:
        raise FormatError(
            "rounding finds no codebook or dual scale",
            where=fmt.name,
            expected=f'method="{_OWN_METHODS.get(fmt.name) or _OWN_METHODS[fmt.decoder]}"',
        )
    matrix = check_weight(weight)
    group_size = _group_size(fmt, granularity, matrix.shape[1])
    _check_scale_bits(fmt, granularity, scale_bits)
    per_tensor = isinstance(granularity, PerTensor)
    if fmt.is_asymmetric:
        tensor = _affine(matrix, fmt, group_size, per_tensor)
    elif isinstance(fmt, OutlierVictimFormat):
        tensor = _outlier_victim(matrix, fmt, group_size, per_tensor)
    else:
        tensor = _nearest(matrix, fmt, group_size, per_tensor)
    return tensor if scale_bits is None else _with_second_level(tensor)


def candidate_errors(
    weight: NDArray[Any], format: str | Format, granularity: Granularity
) -> Float32:
    """Mean squared error of each group with each grid of a format: [outputs, groups, selectors]."""
    fmt = formats.get(format)
    if not fmt.selector_bits:
        raise FormatError("the format has one grid only", where=fmt.name)
    matrix = check_weight(weight)
    group_size = _group_size(fmt, granularity, matrix.shape[1])
    largest = rules.largest_weights(matrix, group_size, isinstance(granularity, PerTensor))
    return _encode(matrix, fmt, group_size, rules.grid_scales(fmt, largest))[2]


def check_weight(weight: NDArray[Any]) -> Float32:
    """A finite matrix as contiguous float32, or FormatError."""
    try:
        array = np.asarray(weight)
    except ValueError:
        raise FormatError("not a matrix", where="weight", expected="rows of one length") from None
    if array.dtype.kind not in "fiu":
        raise FormatError("not numbers", where="weight", got=array.dtype.name, expected="floats")
    if array.ndim != 2 or not array.size:
        raise FormatError(
            "not a matrix", where="weight", got=array.shape, expected="[outputs, inputs], not empty"
        )
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise FormatError(
            "not a finite FP32 number",
            where=f"weight[{row}, {column}]",
            got=float(array[row, column]),
            expected="finite weights",
        )
    return matrix


def _group_size(fmt: Format, granularity: Granularity, inputs: int) -> int:
    if fmt.group_size and granularity != PerGroup(fmt.group_size):
        raise FormatError(
            "the format fixes its own groups",
            where=fmt.name,
            got=granularity,
            expected=f"group_size={fmt.group_size}",
        )
    return granularity.group_size(inputs)


def _check_scale_bits(fmt: Format, granularity: Granularity, scale_bits: int | None) -> None:
    if scale_bits is None:
        return
    if scale_bits != rules.SCALE_CODE_BITS:
        raise FormatError(
            "no such second level",
            where="scale_bits",
            got=scale_bits,
            expected=f"{rules.SCALE_CODE_BITS}, or None for FP32 scales",
        )
    if fmt.group_size or not fmt.is_scaled or isinstance(granularity, PerTensor):
        raise FormatError(
            "no second level of scales here",
            where=fmt.name,
            got=granularity,
            expected="a format that is scaled by groups or channels",
        )


def _nearest(matrix: Float32, fmt: Format, group_size: int, per_tensor: bool) -> QuantizedTensor:
    """Every format whose codes are the nearest values of a grid."""
    scales, scale_codes, extras = _scales(matrix, fmt, group_size, per_tensor)
    codes, selectors, errors = _encode(matrix, fmt, group_size, scales)
    if per_tensor and fmt.selectors > 1:  # one choice for all groups
        best = int(errors.sum(axis=(0, 1), dtype=np.float64).argmin())
        codes, _, _ = _encode(matrix, fmt, group_size, scales, only=best)
        selectors[:] = best
    chosen = np.take_along_axis(scales, selectors[..., np.newaxis].astype(np.intp), axis=2)
    return QuantizedTensor(
        format=fmt,
        codes=codes,
        group_size=group_size,
        scales=chosen[..., 0],
        selectors=selectors,
        scale_codes=scale_codes,
        per_tensor=per_tensor,
        extras=extras,
    )


def _scales(
    matrix: Float32, fmt: Format, group_size: int, per_tensor: bool
) -> tuple[Float32, NDArray[np.uint8] | None, dict[str, NDArray[Any]]]:
    """[outputs, groups, selectors] scales, their stored codes if any, and what else they need."""
    if fmt.scale_rule == "none":
        return (
            np.ones((matrix.shape[0], -(-matrix.shape[1] // group_size), 1), np.float32),
            None,
            {},
        )
    if fmt.scale_rule == "absmean":
        return rules.mean_scales(matrix, group_size, per_tensor)[..., np.newaxis], None, {}
    largest = rules.largest_weights(matrix, group_size, per_tensor)
    if fmt.scale_rule == "power_of_two":
        codes = rules.power_of_two_codes(fmt, largest)
        return rules.block_scales(fmt, codes, None)[..., np.newaxis], codes, {}
    if fmt.scale_rule == "two_level":
        codes, tensor_scale = rules.two_level_codes(fmt, largest)
        scales = rules.block_scales(fmt, codes, tensor_scale)
        return scales[..., np.newaxis], codes, {"tensor_scale": tensor_scale}
    return rules.grid_scales(fmt, largest), None, {}


def _encode(
    matrix: Float32, fmt: Format, group_size: int, scales: Float32, only: int | None = None
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.uint8], Float32]:
    """Codes, selectors and errors with all grids of the format, or with ``only`` one of them."""
    thresholds, grid, codes = _ladders(fmt)
    if only is not None:
        pick = slice(only, only + 1)
        scales, thresholds, grid, codes = (
            scales[..., pick],
            thresholds[pick],
            grid[pick],
            codes[pick],
        )
    errors = np.empty(scales.shape, np.float32)
    minus_zero = 1 << (fmt.code_bits - 1) if fmt.keeps_minus_zero else 0
    encoded, selectors = _kernels.encode_nearest(
        matrix, group_size, scales, thresholds, grid, codes, minus_zero, errors
    )
    return encoded, selectors, errors


@cache
def _ladders(fmt: Format) -> tuple[Float32, Float32, NDArray[np.unsignedinteger[Any]]]:
    """Thresholds, values and codes of all grids, a row each, padded to a power of two."""
    rows = [fmt.grid(selector) for selector in range(fmt.selectors)]
    longest = 1 << (max(row.size for row in rows) - 1).bit_length()
    thresholds = np.full((len(rows), longest - 1), np.inf, np.float32)
    grid = np.zeros((len(rows), longest), np.float32)
    codes = np.zeros((len(rows), longest), code_dtype(fmt.code_bits))
    for selector, row in enumerate(rows):
        thresholds[selector, : row.size - 1] = fmt.thresholds(selector, np.float32)
        grid[selector, : row.size] = row
        codes[selector, : row.size] = fmt.encode(row, selector)
    return thresholds, grid, codes


def _affine(matrix: Float32, fmt: Format, group_size: int, per_tensor: bool) -> QuantizedTensor:
    largest = (1 << fmt.code_bits) - 1
    scales, zeros = rules.affine_scales(matrix, group_size, per_tensor, largest)
    return QuantizedTensor(
        format=fmt,
        codes=_kernels.encode_affine(matrix, group_size, scales, zeros, largest),
        group_size=group_size,
        scales=scales,
        selectors=np.zeros(scales.shape, np.uint8),
        zeros=zeros,
        per_tensor=per_tensor,
    )


def _outlier_victim(
    matrix: Float32, fmt: OutlierVictimFormat, group_size: int, per_tensor: bool
) -> QuantizedTensor:
    if group_size % 2 and group_size != matrix.shape[1]:
        raise FormatError(
            "a group must hold whole pairs", where=fmt.name, got=group_size, expected="an even size"
        )
    candidates = rules.outlier_scales(fmt, matrix, group_size, per_tensor)
    errors = _kernels.pair_errors(
        matrix,
        group_size,
        candidates,
        fmt.thresholds(dtype=np.float32),
        fmt.grid().astype(np.float32),
        np.float32(fmt.largest_normal),
    )
    if per_tensor:
        errors[:] = errors.sum(axis=(0, 1), dtype=np.float64)
    best = errors.argmin(axis=2, keepdims=True)
    scales = np.take_along_axis(candidates, best, axis=2)[..., 0]
    by_weight = np.repeat(scales, group_size, axis=1)[:, : matrix.shape[1]]
    return QuantizedTensor(
        format=fmt,
        codes=fmt.encode(matrix / by_weight).astype(np.uint8),
        group_size=group_size,
        scales=scales,
        selectors=np.zeros(scales.shape, np.uint8),
        per_tensor=per_tensor,
    )


def _with_second_level(tensor: QuantizedTensor) -> QuantizedTensor:
    codes, steps = rules.second_level(tensor.scales)
    scales = rules.block_scales(tensor.format, codes, steps)
    return replace(tensor, scales=scales, scale_codes=codes, channel_steps=steps)
