"""A whole quantised linear as the bit-serial array computes it, bit for bit.

Takes a QuantizedTensor and activations, gives the FP32 numbers that the machine writes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.formats import Terms
from plait.models.formats.olive import OutlierVictimFormat
from plait.models.golden.bit_serial import (
    FP16_UNIT_EXPONENT,
    INTEGER_OUTPUT_BITS,
    MAX_INPUTS,
    output_float32,
    split_fp16,
)
from plait.models.golden.fixed import Integers
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["check_tensor", "integer_sums", "linear", "linear_sums"]

_LONGEST = 62  # bits of a sum or product in int64


def linear(
    tensor: QuantizedTensor,
    activations: NDArray[np.float16] | NDArray[np.int8],
    *,
    lanes: int = 4,
    guard_bits: int = 3,
    accumulator_bits: int = 15,
    output_accumulator_bits: int = 32,
    scale_bits: int = 8,
) -> NDArray[np.float32]:
    """Results [tokens, outputs] of ``activations @ weight.T``, the bits as the machine writes them.

    Args:
        tensor: weights with second-level scales (``scale_bits=8`` when quantising).
        activations: [tokens, inputs]; float16 takes the floating-point mode, int8 the exact one,
            whose results are in units of the activations' own scale.
        lanes: inputs a step; the last step is filled up with zeros.

    >>> from plait.models.quantize import quantize
    >>> weight = quantize(np.eye(4), "int4", group_size=4, scale_bits=8)
    >>> linear(weight, np.array([[1, -2, 3, 0.5]], np.float16)).round(3).tolist()
    [[1.0, -2.0, 3.0, 0.5]]
    """
    check_tensor(tensor, lanes, scale_bits)
    if activations.ndim != 2 or activations.shape[1] != tensor.shape[1]:
        raise FormatError(
            "activations of the wrong shape",
            got=activations.shape,
            expected=f"(tokens, {tensor.shape[1]})",
        )
    unit: Integers
    if activations.dtype == np.int8:
        mantissa, unit = integer_sums(tensor, activations.astype(np.int8)), np.zeros(1, np.int64)
    elif activations.dtype == np.float16:
        mantissa, exponent = linear_sums(
            tensor,
            activations.astype(np.float16),
            lanes=lanes,
            guard_bits=guard_bits,
            accumulator_bits=accumulator_bits,
            output_accumulator_bits=output_accumulator_bits,
            scale_bits=scale_bits,
        )
        unit = exponent - FP16_UNIT_EXPONENT - guard_bits
    else:
        raise FormatError(
            "activations of the wrong type", got=str(activations.dtype), expected="float16 or int8"
        )
    assert tensor.channel_steps is not None  # check_tensor
    return np.ascontiguousarray(output_float32(mantissa, unit, tensor.channel_steps[:, None]).T)


def check_tensor(tensor: QuantizedTensor, lanes: int = 4, scale_bits: int = 8) -> None:
    """Refuse in one line what the array has no hardware for."""
    where = f"weights in {tensor.format.name}"
    if isinstance(tensor.format, OutlierVictimFormat):
        raise FormatError("the meaning of a code depends on its neighbour", where=where)
    terms = tensor.format.terms()
    if terms.shift.min() < 0:
        raise FormatError("values with fractions have no place in the array", where=where)
    if tensor.channel_steps is None or tensor.scale_codes is None:
        raise FormatError("no integer group scales", where=where, hint="quantise with scale_bits=8")
    if tensor.extras:
        raise FormatError(
            "parts the array cannot use", where=where, got=sorted(tensor.extras), expected="none"
        )
    if not np.isfinite(tensor.channel_steps).all() or (tensor.channel_steps <= 0).any():
        raise FormatError("a channel step that is not positive", where=where)
    if (tensor.scale_codes == 0).any() or int(tensor.scale_codes.max()) >> scale_bits:
        raise FormatError(
            "a group scale out of range", where=where, expected=f"1 to {(1 << scale_bits) - 1}"
        )
    if tensor.groups > 1 and tensor.group_size % lanes:
        raise FormatError(
            "a group ends within a step",
            where=where,
            got=tensor.group_size,
            expected=f"a multiple of {lanes}",
        )
    if tensor.shape[1] > MAX_INPUTS:
        raise FormatError(
            "too many inputs", where=where, got=tensor.shape[1], expected=f"at most {MAX_INPUTS}"
        )


def linear_sums(
    tensor: QuantizedTensor,
    activations: NDArray[np.float16],
    *,
    lanes: int,
    guard_bits: int,
    accumulator_bits: int,
    output_accumulator_bits: int,
    scale_bits: int,
) -> tuple[Integers, Integers]:
    """Output accumulators (mantissa, exponent) [outputs, tokens] with FP16 activations."""
    from plait.models.golden import _bit_serial_kernel as kernel

    terms = tensor.format.terms()
    sum_bits = _sum_bits(terms, lanes, guard_bits)
    widest = max(sum_bits, accumulator_bits)
    if max(widest + 1, accumulator_bits + scale_bits, output_accumulator_bits) > _LONGEST:
        raise FormatError("widths beyond the golden model", got=widest, expected=f"{_LONGEST} bits")
    is_narrow = widest + 1 <= 31 and widest + 1 - accumulator_bits <= 16
    padding = -activations.shape[1] % lanes
    sign, exponent, mantissa = (
        np.ascontiguousarray(np.pad(part, ((0, 0), (0, padding)), constant_values=fill).T)
        for part, fill in zip(split_fp16(activations), (0, 1, 0), strict=True)
    )
    assert tensor.scale_codes is not None  # check_tensor
    return kernel.linear_sums(
        (-sign).astype(np.int8),
        exponent.astype(np.int8),
        mantissa.astype(np.int16),
        np.pad(tensor.codes, ((0, 0), (0, padding))),
        tensor.selectors,
        tensor.scale_codes,
        -terms.sign.astype(np.int8),
        terms.man,
        terms.exp,
        terms.shift,
        tensor.group_size + -tensor.group_size % lanes,
        lanes,
        guard_bits,
        accumulator_bits,
        output_accumulator_bits,
        np.empty(0, np.int32 if is_narrow else np.int64),
    )


def _sum_bits(terms: Terms, lanes: int, guard_bits: int) -> int:
    """Width of a step's signed sum after the shift common to all codes (default: 23)."""
    return 11 + guard_bits + 1 + (lanes - 1).bit_length() + int(terms.shift.max())


def integer_sums(tensor: QuantizedTensor, activations: NDArray[np.int8]) -> Integers:
    """Exact output accumulators [outputs, tokens] with INT8 activations.

    The products are exact in FP64 (below 2**53), so BLAS may add them in any order.
    """
    assert tensor.scale_codes is not None  # check_tensor
    values = tensor.format.terms().values()
    scales = tensor.scale_codes.astype(np.float64)
    selectors, factors = (
        np.repeat(grouped, tensor.group_size, axis=1)[:, : tensor.shape[1]]
        for grouped in (tensor.selectors, scales)
    )
    weights = values[selectors, tensor.codes] * factors
    sums = (weights @ activations.astype(np.float64).T).astype(np.int64)
    assert not (np.abs(sums) >> (INTEGER_OUTPUT_BITS - 1)).any()
    return sums
