"""Softmax, norms, SiLU, GELU, elementwise operations in fixed point, bit for bit as the RTL does.

Elements are signed integers of at most 16 bits with one scale a vector; scales are folded into
multipliers of 16 bits and right shifts, so that no function sees a real number. Rounding is to
nearest even, once, at the end; what lies between (exponents, roots, reciprocals) truncates. The
unit takes 16 elements a cycle; softmax and the norms take two passes, as in FlightLLM (FPGA 2024,
arXiv 2401.03868).

Errors against float64 are bounded by the constants below (relative to the exact function of the
same integers, before the last rounding):

- ``SOFTMAX_ERROR``, relative: two linear interpolations, a sum and a reciprocal of 16 bits each.
- ``NORM_ERROR``, relative: a root and a reciprocal of 16 bits.
- ``SIGMOID_ERROR``, ``NORMAL_ERROR``, absolute: linear interpolation in steps of 1/16.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, exp, isqrt, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.models.golden.fixed import bit_length, round_half_even

__all__ = [
    "EXPONENTIAL",
    "GATE_FRACTION_BITS",
    "LOG_FRACTION_BITS",
    "NORMAL",
    "NORMAL_ERROR",
    "NORM_ERROR",
    "RECIPROCAL_EXPONENT",
    "SIGMOID",
    "SIGMOID_ERROR",
    "SOFTMAX_ERROR",
    "UNIT_BITS",
    "add",
    "exponential",
    "gate",
    "gelu",
    "inverse_root",
    "layer_norm",
    "multiply",
    "reciprocal",
    "requantise",
    "rms_norm",
    "rotate",
    "saturate",
    "silu",
    "softmax",
]  # fmt: skip

Integers = NDArray[np.int64]

UNIT_BITS = 16  # fraction of exponentials, sigmoids and reciprocals
LOG_FRACTION_BITS = 12  # of softmax's exponent, in powers of two
GATE_FRACTION_BITS = 12  # of the argument of sigmoid and the normal distribution
_GATE_LIMIT = 16  # beyond it the gate is 0 or 1
_EXPONENTIAL_SEGMENTS = 64
_GATE_SEGMENTS = 256
RECIPROCAL_EXPONENT = 31  # a reciprocal is floor(2**31 / a number of 16 bits)

SOFTMAX_ERROR = 3e-4
NORM_ERROR = 1e-4
SIGMOID_ERROR = 7e-5
NORMAL_ERROR = 1.4e-4


def _table(function: Callable[[float], float], segments: int, width: float) -> Integers:
    """Values at the borders of equal segments, with UNIT_BITS of fraction."""
    return np.array(
        [round(function(i * width / segments) * (1 << UNIT_BITS)) for i in range(segments + 1)],
        np.int64,
    )


EXPONENTIAL = _table(lambda x: 2.0**-x, _EXPONENTIAL_SEGMENTS, 1.0)
SIGMOID = _table(lambda x: 1 / (1 + exp(-x)), _GATE_SEGMENTS, _GATE_LIMIT)
NORMAL = _table(lambda x: 0.5 * (1 + erf(x / sqrt(2))), _GATE_SEGMENTS, _GATE_LIMIT)


def saturate(values: ArrayLike, bits: int) -> Integers:
    """Limit to the range of a signed integer.

    >>> saturate([300, -129, 5], 8).tolist()
    [127, -128, 5]
    """
    limit = 1 << (bits - 1)
    return np.clip(np.asarray(values, np.int64), -limit, limit - 1)


def requantise(values: ArrayLike, multiplier: ArrayLike, shift: ArrayLike, bits: int) -> Integers:
    """``values * multiplier / 2**shift``, rounded to nearest even and saturated.

    >>> requantise([100, -3, 3], 3, 1, 8).tolist()
    [127, -4, 4]
    """
    product = np.asarray(values, np.int64) * np.asarray(multiplier, np.int64)
    return saturate(round_half_even(product, shift), bits)


def add(
    left: ArrayLike,
    right: ArrayLike,
    multipliers: tuple[int, int],
    shift: int,
    bits: int,
) -> Integers:
    """Elementwise sum of two vectors of different scale."""
    total = (
        np.asarray(left, np.int64) * multipliers[0] + np.asarray(right, np.int64) * multipliers[1]
    )
    return saturate(round_half_even(total, shift), bits)


def multiply(left: ArrayLike, right: ArrayLike, multiplier: int, shift: int, bits: int) -> Integers:
    """Elementwise product."""
    product = np.asarray(left, np.int64) * np.asarray(right, np.int64)
    return requantise(product, multiplier, shift, bits)


def rotate(
    values: ArrayLike,
    cosines: ArrayLike,
    sines: ArrayLike,
    shift: int,
    bits: int,
    between_bits: int = 16,
) -> Integers:
    """Rotary embedding of heads [..., head size] as three elementwise operations.

    ``values * cosines + swapped * sines``, where the halves of a head are swapped and the sign of
    the first half's sine is negative: both are the caller's. The products are rounded to
    ``between_bits`` and keep their fraction until the sum.
    """
    numbers = np.asarray(values, np.int64)
    half = numbers.shape[-1] // 2
    swapped = np.concatenate([numbers[..., half:], numbers[..., :half]], axis=-1)
    first = multiply(numbers, cosines, 1, shift, between_bits)
    second = multiply(swapped, sines, 1, shift, between_bits)
    return add(first, second, (1, 1), 0, bits)


def _interpolate(table: Integers, position: Integers, fraction_bits: int) -> Integers:
    """The line between two borders; position has ``fraction_bits`` below the segment's number."""
    segment = position >> fraction_bits
    rest = position & ((1 << fraction_bits) - 1)
    low = table[segment]
    return low + ((table[segment + 1] - low) * rest >> fraction_bits)


def exponential(distance: ArrayLike) -> Integers:
    """``2**-(distance / 2**LOG_FRACTION_BITS)`` with 16 bits of fraction; distance 0 or more.

    >>> exponential([0, 1 << 12, 3 << 11]).tolist()
    [65536, 32768, 23170]
    """
    numbers = np.asarray(distance, np.int64)
    fraction = numbers & ((1 << LOG_FRACTION_BITS) - 1)
    segment_bits = LOG_FRACTION_BITS - (_EXPONENTIAL_SEGMENTS.bit_length() - 1)
    mantissa = _interpolate(EXPONENTIAL, fraction, segment_bits)
    return mantissa >> np.minimum(numbers >> LOG_FRACTION_BITS, 63)


def reciprocal(number: int) -> tuple[int, int]:
    """``1 / number`` as (mantissa, exponent): mantissa / 2**(31 + exponent); number at least 1.

    The number is cut to 16 leading bits first; a smaller one is shifted up.
    """
    shift = number.bit_length() - UNIT_BITS
    leading = number >> shift if shift >= 0 else number << -shift
    return (1 << RECIPROCAL_EXPONENT) // leading, shift


def inverse_root(number: int) -> tuple[int, int]:
    """``1 / sqrt(number)`` as (mantissa, exponent): mantissa / 2**(31 + exponent)."""
    shift = number.bit_length() - 2 * UNIT_BITS
    shift += shift & 1  # even, so that its half leaves the root
    leading = number >> shift if shift >= 0 else number << -shift
    return (1 << RECIPROCAL_EXPONENT) // isqrt(leading), shift // 2


def softmax(
    values: ArrayLike,
    multiplier: int,
    shift: int,
    fraction: int,
    bits: int,
    lanes: int = 16,
) -> Integers:
    """Softmax of a vector [elements], with ``fraction`` fraction bits.

    One pass finds the running maximum, as a whole power of two (a new one costs a shift of the sum:
    Softermax, arXiv 2103.09301), and the sum; a second one divides.

    Args:
        multiplier, shift: ``values * multiplier / 2**shift`` is the exponent to base two with
            LOG_FRACTION_BITS fraction bits: the scale of the scores times log2(e).
        fraction: of the results; 7 gives probabilities in units of 1/128, where 1 saturates.
        lanes: elements of a cycle, over which the sum is exact.
    """
    logs = np.asarray(values, np.int64) * multiplier >> shift
    one = 1 << LOG_FRACTION_BITS
    largest: int | None = None
    total = 0
    for start in range(0, len(logs), lanes):
        part = logs[start : start + lanes]
        top = int(part.max() + one - 1) >> LOG_FRACTION_BITS
        if largest is not None:
            top = max(top, largest)
            total >>= min(top - largest, 63)
        largest = top
        total += int(exponential(top * one - part).sum())
    assert largest is not None, "softmax of nothing"
    mantissa, exponent = reciprocal(total)
    powers = exponential(largest * one - logs)
    return saturate(
        round_half_even(powers * mantissa, RECIPROCAL_EXPONENT + exponent - fraction), bits
    )


def rms_norm(values: ArrayLike, gains: ArrayLike, epsilon: int, shift: int, bits: int) -> Integers:
    """``values * gains / sqrt(sum of squares + epsilon)`` of a vector [elements].

    Args:
        gains: the norm's weights times sqrt(elements) over the scale of the result, times
            2**(shift - 31), as integers of 16 bits.
        epsilon: the norm's own, times elements, over the square of the values' scale.
        shift: see gains.
    """
    numbers = np.asarray(values, np.int64)
    return _normalised(numbers, int((numbers * numbers).sum()), gains, epsilon, shift, bits)


def layer_norm(
    values: ArrayLike,
    gains: ArrayLike,
    epsilon: int,
    mean: tuple[int, int],
    shift: int,
    bits: int,
) -> Integers:
    """As `rms_norm`, of what the values differ from their mean, which is rounded to an integer.

    Args:
        mean: (multiplier, shift) that stand for 1 / elements.
    """
    numbers = np.asarray(values, np.int64)
    total = int(numbers.sum())
    middle = int(round_half_even(total * mean[0], mean[1]))
    squares = int((numbers * numbers).sum()) - middle * (2 * total - len(numbers) * middle)
    return _normalised(numbers - middle, squares, gains, epsilon, shift, bits)


def _normalised(
    numbers: Integers, squares: int, gains: ArrayLike, epsilon: int, shift: int, bits: int
) -> Integers:
    mantissa, exponent = inverse_root(max(squares + epsilon, 1))
    product = numbers * np.asarray(gains, np.int64) * mantissa
    return saturate(round_half_even(product, min(max(shift + exponent, 0), 62)), bits)


def gate(values: ArrayLike, multiplier: int, shift: int, table: Integers = SIGMOID) -> Integers:
    """The sigmoid (or another odd step) of a vector, 0 to 2**16.

    Args:
        multiplier, shift: ``values * multiplier / 2**shift`` is the argument, with
            GATE_FRACTION_BITS fraction bits.
        table: the upper half of the step, at equal distances.
    """
    argument = np.asarray(values, np.int64) * multiplier >> shift
    limit = (_GATE_LIMIT << GATE_FRACTION_BITS) - 1
    magnitude = np.minimum(np.abs(argument), limit)
    segment_bits = bit_length(limit).item() - (_GATE_SEGMENTS.bit_length() - 1)
    upper = _interpolate(table, magnitude, segment_bits)
    return np.where(argument < 0, (1 << UNIT_BITS) - upper, upper)


def silu(
    values: ArrayLike, argument: tuple[int, int], result: tuple[int, int], bits: int
) -> Integers:
    """``x * sigmoid(x)``.

    Args:
        argument: (multiplier, shift) of the sigmoid's argument, as in `gate`.
        result: (multiplier, shift); the shift includes the sigmoid's 16 fraction bits.
    """
    return _gated(values, argument, result, bits, SIGMOID)


def gelu(
    values: ArrayLike, argument: tuple[int, int], result: tuple[int, int], bits: int
) -> Integers:
    """``x`` times the normal distribution's function of ``x``; arguments as in `silu`."""
    return _gated(values, argument, result, bits, NORMAL)


def _gated(
    values: ArrayLike,
    argument: tuple[int, int],
    result: tuple[int, int],
    bits: int,
    table: Integers,
) -> Integers:
    numbers = np.asarray(values, np.int64)
    steps = gate(numbers, *argument, table)
    return saturate(round_half_even(numbers * result[0] * steps, result[1]), bits)
