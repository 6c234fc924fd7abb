"""GPTQ: round column by column and let later columns make up for the error (arXiv 2210.17323).

Ranges include zero. With groups, a group's range is taken from the weights as they stood at the
start of the current block of columns, as in the authors' code: updates from inside the block have
not reached them yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.packing import code_dtype
from plait.models.quantize._columns import make_up
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.granularity import Granularity, PerTensor
from plait.models.quantize.hessian import damped, inverse_factor
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["ColumnCodes", "gptq", "gptq_codes", "zero_inclusive_range"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCodes:
    """What the column pass gives; groups and columns in the order of the weights.

    Attributes:
        codes: int64 [outputs, inputs].
        scales, zeros: float64 [outputs, groups]; zeros are 0 where the format has none.
        quantised: float64 [outputs, inputs].
        loss: sum over all columns of error^2 / 2 in the metric of the inverse Hessian.
    """

    codes: NDArray[np.int64]
    scales: Float64
    zeros: Float64
    quantised: Float64
    loss: float


def zero_inclusive_range(weight: Float64, largest_code: int) -> tuple[Float64, Float64]:
    """(max - min) / largest code and round(-min / scale) a row; zero is in the range.

    A row of zeros gets the range -1 to 1.
    """
    high = np.maximum(weight.max(axis=1), 0)
    low = np.minimum(weight.min(axis=1), 0)
    flat = (high == 0) & (low == 0)
    high, low = np.where(flat, 1.0, high), np.where(flat, -1.0, low)
    scales = (high - low) / largest_code
    return scales, np.rint(-low / scales)


def gptq_codes(
    weight: NDArray[Any],
    hessian: Float64,
    format: str | Format = "int4-asym",
    group_size: int | None = None,
    block: int = 128,
    act_order: bool = False,
    damp: float = 0.01,
) -> ColumnCodes:
    """The column pass in float64.

    Args:
        weight: [outputs, inputs].
        hessian: 2 X^T X / tokens, [inputs, inputs].
        format: integers with a zero point, or a format of one symmetric grid.
        group_size: weights that share a scale; None = a row.
        block: columns whose updates reach the rest together.
        act_order: columns of the largest activations first; ranges of groups then come from the
            weights before the pass.
        damp: part of the mean diagonal that is added to the Hessian.
    """
    fmt = formats.get(format)
    work = np.array(weight, np.float64)
    inputs = work.shape[1]
    size = group_size or inputs
    safe, silent = damped(hessian, damp)
    find = _range_rule(fmt)
    groups = -(-inputs // size)
    scales, zeros = np.empty((2, groups, work.shape[0]))
    for group in range(groups):
        scales[group], zeros[group] = find(work[:, group * size : (group + 1) * size])
    fixed = act_order or groups == 1
    work[:, silent] = 0
    order = np.argsort(-np.diag(safe), kind="stable") if act_order else np.arange(inputs)
    work = work[:, order]
    upper = inverse_factor(safe[np.ix_(order, order)])
    codes, quantised = np.empty(work.T.shape, np.int64), np.empty(work.T.shape)
    loss = 0.0
    for start in range(0, inputs, block):
        stop = min(start + block, inputs)
        piece = np.array(work[:, start:stop].T, order="C")  # always a copy
        errors = np.empty_like(piece)
        for j in range(start, stop):
            group = order[j] // size
            if not fixed and j % size == 0:
                scales[group], zeros[group] = find(work[:, j : j + size])
            column, error = piece[j - start], errors[j - start]
            codes[j], quantised[j] = _round(fmt, column, scales[group], zeros[group])
            np.divide(column - quantised[j], upper[j, j], out=error)
            loss += float(np.square(error).sum() / 2)
            make_up(piece[j - start + 1 :], error, upper[j, j + 1 : stop])
        work[:, stop:] -= errors.T @ upper[start:stop, stop:]
    back = np.argsort(order)
    return ColumnCodes(
        codes=np.ascontiguousarray(codes[back].T),
        scales=np.ascontiguousarray(scales.T),
        zeros=np.ascontiguousarray(zeros.T),
        quantised=np.ascontiguousarray(quantised[back].T),
        loss=loss,
    )


def gptq(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity,
    scale_bits: int | None = None,
    inputs: Any = None,
    block: int = 128,
    act_order: bool = False,
    damp: float = 0.01,
) -> QuantizedTensor:
    """Quantise one matrix by GPTQ; scales are stored in FP16 unless asked otherwise.

    Args:
        weight: [outputs, inputs].
        format: integers with a zero point (``int4-asym``), or a format of one symmetric grid.
        granularity: how many weights share a scale.
        scale_bits: 16 (the default) or 32.
        inputs: calibration data [tokens, inputs].
        block, act_order, damp: see ``gptq_codes``.
    """
    fmt = formats.get(format)
    matrix = check_weight(weight).astype(np.float64)
    if isinstance(granularity, PerTensor):
        raise FormatError("one scale a tensor is not for this method", where="method gptq")
    statistics = as_statistics(inputs, matrix.shape[1], "gptq")
    size = granularity.group_size(matrix.shape[1])
    found = gptq_codes(matrix, statistics.hessian, fmt, size, block, act_order, damp)
    bits = check_scale_bits(scale_bits, "gptq")
    return QuantizedTensor(
        format=fmt,
        codes=found.codes.astype(code_dtype(fmt.code_bits)),
        group_size=size,
        scales=stored_scales(found.scales, bits),
        selectors=np.zeros(found.scales.shape, np.uint8),
        zeros=found.zeros.astype(np.uint8) if fmt.is_asymmetric else None,
        scale_bits=bits,
        notes=statistics.notes,
    )


def check_scale_bits(scale_bits: int | None, method: str) -> int:
    """16 unless 32 is asked for."""
    if scale_bits not in (None, 16, 32):
        raise FormatError(
            "no such scales",
            where=f"method {method}: scale_bits",
            got=scale_bits,
            expected="16 or 32",
        )
    return scale_bits or 16


def stored_scales(scales: Float64, bits: int) -> NDArray[np.float32]:
    """Scales as stored, float32; FP16 ones are rounded, never to zero."""
    if bits == 32:
        return scales.astype(np.float32)
    with np.errstate(over="ignore"):
        half = np.maximum(scales.astype(np.float16), np.finfo(np.float16).smallest_subnormal)
    if not np.isfinite(half).all():
        raise FormatError("too large for FP16", where="scales", got=float(scales.max()))
    return half.astype(np.float32)


def _range_rule(fmt: Format) -> Callable[[Float64], tuple[Float64, Float64]]:
    if fmt.is_asymmetric and not fmt.signed_zeros:
        return lambda part: zero_inclusive_range(part, (1 << fmt.code_bits) - 1)
    symmetric = fmt.scale_rule in ("absmax_integer", "absmax_grid") and fmt.selectors == 1
    if not symmetric:
        raise FormatError(
            "a format that the column pass cannot round to",
            where=f"method gptq: {fmt.name}",
            expected="integers with a zero point (int4-asym) or one grid (int4, fp4)",
        )
    end = float(np.abs(fmt.grid()).max())

    def find(part: Float64) -> tuple[Float64, Float64]:
        largest = np.abs(part).max(axis=1)
        return np.where(largest > 0, largest, 1.0) / end, np.zeros(part.shape[0])

    return find


def _round(
    fmt: Format, column: Float64, scales: Float64, zeros: Float64
) -> tuple[NDArray[Any], Float64]:
    if fmt.is_asymmetric:
        codes = np.clip(np.rint(column / scales) + zeros, 0, (1 << fmt.code_bits) - 1)
        return codes, scales * (codes - zeros)
    nearest = fmt.encode(column / scales)
    return nearest, fmt.table[0][nearest] * scales
