"""The bit-serial PE, stage by stage, on int64 arrays: the definition that kernel and RTL follow.

Source: BitMoD, HPCA 2025, arXiv 2411.11745; widths that the paper leaves open are arguments. The
one change to the authors' draft: of accumulator and sum the one of smaller exponent is shifted
right, in both directions.

A step takes ``lanes`` inputs (the last axis), one term of each weight in a cycle. FP16 activation
a = (-1)^sign * mantissa * 2^(exponent - 25); every sum is mantissa * 2^(exponent - 25 - guard).
With INT8 activations the same PE adds integers exactly and has no exponents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import FormatError
from plait.models.formats import Terms
from plait.models.golden.fixed import (
    Integers,
    add_aligned,
    bit_length,
    renormalise,
    round_half_even,
)

__all__ = [
    "EXPONENT_BITS",
    "FP16_UNIT_EXPONENT",
    "INTEGER_ACCUMULATOR_BITS",
    "INTEGER_OUTPUT_BITS",
    "MAX_INPUTS",
    "accumulate",
    "align",
    "dequantise",
    "group_sum",
    "group_sum_int8",
    "multiply",
    "output_float32",
    "output_sum",
    "split_fp16",
]

FP16_UNIT_EXPONENT = 25  # 10 bits of fraction and a bias of 15
EXPONENT_BITS = 6
INTEGER_ACCUMULATOR_BITS = 32  # exact for groups of up to MAX_INPUTS products of 8 by 8 bits
INTEGER_OUTPUT_BITS = 40  # the same times an 8-bit scale
MAX_INPUTS = 1 << 16


def split_fp16(activations: NDArray[np.float16]) -> tuple[Integers, Integers, Integers]:
    """(sign, exponent, mantissa) of finite FP16; subnormals: exponent 1 and no hidden one."""
    bits = np.ascontiguousarray(activations, np.float16).view(np.uint16).astype(np.int64)
    field = (bits >> 10) & 0x1F
    if (field == 0x1F).any():
        raise FormatError("infinity or NaN among the activations", expected="finite FP16 numbers")
    mantissa = (bits & 0x3FF) | np.where(field > 0, 0x400, 0)
    return bits >> 15, np.maximum(field, 1), mantissa


def align(activation_exponent: ArrayLike, term_exponent: ArrayLike) -> tuple[Integers, Integers]:
    """(largest exponent [...], right shift of each lane [..., lanes]).

    A lane whose term or activation is zero takes part with the exponent it has.
    """
    exponent = np.asarray(activation_exponent, np.int64) + np.asarray(term_exponent, np.int64)
    largest = exponent.max(axis=-1)
    return largest, largest[..., np.newaxis] - exponent


def multiply(
    mantissa: ArrayLike, man: ArrayLike, sign: ArrayLike, shift: ArrayLike, guard_bits: int
) -> Integers:
    """Signed products; the magnitude is cut at ``guard_bits`` below the last place of FP16."""
    magnitude = (np.asarray(mantissa, np.int64) * np.asarray(man, np.int64)) << guard_bits
    cut = magnitude >> np.minimum(np.asarray(shift, np.int64), 63)
    return np.where(np.asarray(sign) & 1, -cut, cut)


def accumulate(
    accumulator: tuple[Integers, Integers],
    lane_sum: Integers,
    exponent: Integers,
    term_shift: int,
    accumulator_bits: int,
) -> tuple[Integers, Integers]:
    """Add a step's sum, shifted left by the power of two that all codes share at this term."""
    return add_aligned(accumulator, (lane_sum << term_shift, exponent), accumulator_bits)


def group_sum(
    activations: NDArray[np.float16],
    codes: NDArray[np.integer],
    selectors: ArrayLike,
    terms: Terms,
    *,
    lanes: int,
    guard_bits: int,
    accumulator_bits: int,
) -> tuple[Integers, Integers]:
    """Accumulator (mantissa, exponent) [outputs, tokens] at the end of one group.

    Args:
        activations: [tokens, inputs] FP16; inputs a multiple of ``lanes``.
        codes: [outputs, inputs] weights of the group.
        selectors: [outputs] grid of each output's group.
    """
    sign, exponent, mantissa = (part[np.newaxis] for part in split_fp16(activations))
    which = np.asarray(selectors)[:, np.newaxis]
    shape = (codes.shape[0], activations.shape[0])
    accumulator = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for first in range(0, codes.shape[1], lanes):
        step = slice(first, first + lanes)
        for term in range(terms.count):
            weight_sign, man, term_exponent = (
                field[which, codes[:, step], term].astype(np.int64)[:, np.newaxis]
                for field in (terms.sign, terms.man, terms.exp)
            )
            largest, shift = align(exponent[..., step], term_exponent)
            products = multiply(
                mantissa[..., step], man, sign[..., step] ^ weight_sign, shift, guard_bits
            )
            accumulator = accumulate(
                accumulator,
                products.sum(axis=-1),
                largest,
                int(terms.shift[term]),
                accumulator_bits,
            )
    return accumulator


def group_sum_int8(
    activations: NDArray[np.int8], codes: NDArray[np.integer], selectors: ArrayLike, terms: Terms
) -> Integers:
    """Exact integer sum [outputs, tokens] of one group; the order of terms does not matter."""
    power = np.int64(1) << (terms.exp.astype(np.int64) + terms.shift)
    value = (np.where(terms.sign == 1, -1, 1) * terms.man * power).sum(axis=-1)
    weights = value[np.asarray(selectors)[:, np.newaxis], codes]
    return weights @ activations.astype(np.int64).T


def dequantise(mantissa: ArrayLike, scale: ArrayLike, scale_bits: int) -> Integers:
    """Mantissa times scale, one bit of the scale a cycle, highest first; nothing is lost."""
    factor, code = np.asarray(mantissa, np.int64), np.asarray(scale, np.int64)
    product = np.zeros(np.broadcast_shapes(factor.shape, code.shape), np.int64)
    for bit in reversed(range(scale_bits)):
        product = (product << 1) + factor * ((code >> bit) & 1)
    return product


def output_sum(
    groups: list[tuple[Integers, Integers]], output_accumulator_bits: int
) -> tuple[Integers, Integers]:
    """Output accumulator after all dequantised groups (mantissa, exponent), in order."""
    zero = np.zeros_like(groups[0][0])
    total = (zero, zero)
    for group in groups:
        total = add_aligned(total, group, output_accumulator_bits)
    return total


def output_float32(
    mantissa: ArrayLike, unit_exponent: ArrayLike, channel_step: NDArray[np.float16]
) -> NDArray[np.float32]:
    """``mantissa * 2**unit_exponent * channel_step`` as FP32, rounded once, half to even.

    Within the widths of this family every result is zero (always +0) or a normal FP32 number.
    """
    step_sign, step_exponent, step_mantissa = split_fp16(channel_step)
    numbers = np.asarray(mantissa, np.int64)
    product = np.abs(numbers) * step_mantissa
    exponent = np.asarray(unit_exponent, np.int64) + step_exponent - FP16_UNIT_EXPONENT
    excess = np.maximum(bit_length(product) - 24, 0)
    rounded, exponent = renormalise(round_half_even(product, excess), exponent + excess, 25)
    value = np.ldexp(rounded.astype(np.float32), exponent.astype(np.int32))
    return np.where((numbers < 0) ^ (step_sign == 1), -value, value) + np.float32(0)
