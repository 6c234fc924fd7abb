"""Shifts and rounding of integer arrays: the only rounding code of the golden models.

Numbers with an exponent are pairs of int64 arrays (mantissa, exponent); what an exponent of 0
means is the caller's. int64 bounds every width: mantissas of at most 62 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["add_aligned", "bit_length", "renormalise", "round_half_even", "shift_right"]

Integers = NDArray[np.int64]


def shift_right(values: ArrayLike, count: ArrayLike) -> Integers:
    """Arithmetic shift: floor(values / 2**count), for any count of 0 or more."""
    return np.asarray(values, np.int64) >> np.minimum(np.asarray(count, np.int64), 63)


def bit_length(magnitudes: ArrayLike) -> Integers:
    """Bits of a number without its sign: 0 for 0, n for 2**(n-1) to 2**n - 1."""
    rest = np.array(magnitudes, np.int64)
    length = np.zeros_like(rest)
    for step in (32, 16, 8, 4, 2, 1):
        high = rest >> step
        large = high > 0
        length += step * large
        rest = np.where(large, high, rest)
    return length + (rest > 0)


def renormalise(mantissa: Integers, exponent: Integers, bits: int) -> tuple[Integers, Integers]:
    """Shift right, truncating, until the mantissa is a signed number of ``bits`` bits."""
    magnitude = mantissa ^ (mantissa >> 63)  # the smallest number, -2**(bits-1), fits too
    excess = np.maximum(bit_length(magnitude) - (bits - 1), 0)
    return mantissa >> excess, exponent + excess


def add_aligned(
    left: tuple[Integers, Integers], right: tuple[Integers, Integers], bits: int
) -> tuple[Integers, Integers]:
    """Sum of two numbers: the one of smaller exponent is shifted right first, truncating.

    The result is renormalised to ``bits`` by right shifts only, so leading zeros stay.
    """
    (left_mantissa, left_exponent), (right_mantissa, right_exponent) = left, right
    exponent = np.maximum(left_exponent, right_exponent)
    total = shift_right(left_mantissa, exponent - left_exponent) + shift_right(
        right_mantissa, exponent - right_exponent
    )
    return renormalise(total, exponent, bits)


def round_half_even(values: ArrayLike, count: ArrayLike) -> Integers:
    """``values / 2**count`` to the nearest integer, ties to even; ``count`` from 0 to 62.

    >>> round_half_even([5, 6, 7, -6], 2).tolist()
    [1, 2, 2, -2]
    """
    numbers = np.asarray(values, np.int64)
    drop = np.asarray(count, np.int64)
    kept = numbers >> drop
    rest = numbers - (kept << drop)
    half = np.where(drop > 0, np.int64(1) << np.maximum(drop - 1, 0), np.int64(1))
    up = (rest > half) | ((rest == half) & (kept & 1 == 1))
    return kept + up
