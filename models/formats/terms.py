"""Values as sums of signed powers of two: what a bit-serial PE eats, one term a cycle.

``value = sum over t of (-1)^sign[t] * man[t] * 2^exp[t] * 2^shift[t]``. The shift of term ``t`` is
common to all codes of a format (wiring); sign, man and exp come from a table indexed by the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Terms", "booth_terms", "signed_binary_terms"]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """The term decoder of a format: ``sign``, ``man`` and ``exp`` are [selectors, 2**code_bits, T].

    Attributes:
        sign: 1 where the term is subtracted.
        man: 1 where the term is there; a missing term is 0 and still takes its cycle.
        exp: power of two of the term, 0 or more.
        shift: [T] power of two common to all codes at term t; negative for formats with fractions
            (the machine moves ``2**shift.min()`` into the scale).
    """

    sign: NDArray[np.uint8]
    man: NDArray[np.uint8]
    exp: NDArray[np.uint8]
    shift: NDArray[np.int8]

    @property
    def count(self) -> int:
        """Terms a value (cycles in the PE)."""
        return int(self.shift.size)

    @property
    def exponent_bits(self) -> int:
        """Width of the ``exp`` field that a decoder needs."""
        return int(self.exp.max()).bit_length()

    def values(self) -> NDArray[np.float64]:
        """The sums, [selectors, 2**code_bits], exact; an unused code gives 0."""
        power = self.exp.astype(np.int64) + self.shift
        signed = np.where(self.sign == 1, -1.0, 1.0) * self.man
        return np.ldexp(signed, power).sum(axis=-1)


def booth_terms(table: NDArray[np.float64], code_bits: int) -> Terms:
    """Radix-4 Booth digits of two's complement integers (or of such over a power of two).

    Digit k has shift 2k; digits come least significant first: -31 in 6 bits is [1, 0, -2].
    """
    finite = np.where(np.isfinite(table), table, 0.0)
    unit_exponent = _unit_exponent(finite)
    integers = np.ldexp(finite, -unit_exponent).astype(np.int64)
    count = -(-code_bits // 2)
    doubled = integers << 1  # bit 2k-1 of the value is bit 2k here, so that digit 0 needs no case
    digits = np.stack([_booth_digit(doubled >> (2 * k)) for k in range(count)], axis=-1)
    return Terms(
        sign=(digits < 0).astype(np.uint8),
        man=(digits != 0).astype(np.uint8),
        exp=(np.abs(digits) == 2).astype(np.uint8),
        shift=(2 * np.arange(count) + unit_exponent).astype(np.int8),
    )


def signed_binary_terms(table: NDArray[np.float64], code_bits: int) -> Terms:
    """Ones of the magnitude, largest first; canonical signed digits where the ones are too many.

    ``ceil(code_bits / 2)`` terms where they suffice (the cycles of the published machine), else as
    many as the worst value needs.
    """
    finite = np.where(np.isfinite(table), table, 0.0)
    unit_exponent = _unit_exponent(finite)
    integers = [round(float(value)) for value in np.ldexp(finite, -unit_exponent).reshape(-1)]
    canonical = [_canonical_digits(integer) for integer in integers]
    count = max(-(-code_bits // 2), *(len(digits) for digits in canonical))
    sign, man, exp = np.zeros((3, len(integers), count), dtype=np.uint8)
    for row, (integer, digits) in enumerate(zip(integers, canonical, strict=True)):
        ones = _binary_digits(integer)
        for term, (negative, power) in enumerate(ones if len(ones) <= count else digits):
            sign[row, term], man[row, term], exp[row, term] = negative, 1, power
    shape = (*table.shape, count)
    return Terms(
        sign=sign.reshape(shape),
        man=man.reshape(shape),
        exp=exp.reshape(shape),
        shift=np.full(count, unit_exponent, dtype=np.int8),
    )


def _booth_digit(triplet: NDArray[np.int64]) -> NDArray[np.int64]:
    return (triplet & 1) + ((triplet >> 1) & 1) - 2 * ((triplet >> 2) & 1)


def _unit_exponent(values: NDArray[np.float64]) -> int:
    """The power of two of the finest step, at most 0, so that values / step are integers."""
    mantissa, exponent = np.frexp(values[values != 0])
    scaled = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.log2((scaled & -scaled).astype(np.float64)).astype(np.int64)
    return min(0, int((exponent - 53 + trailing).min()))


def _binary_digits(integer: int) -> list[tuple[bool, int]]:
    magnitude = abs(integer)
    powers = [p for p in range(magnitude.bit_length() - 1, -1, -1) if magnitude >> p & 1]
    return [(integer < 0, power) for power in powers]


def _canonical_digits(integer: int) -> list[tuple[bool, int]]:
    """Non-adjacent form: the fewest signed powers of two, largest first."""
    digits = []
    rest, power = abs(integer), 0
    while rest:
        if rest & 1:
            digit = 2 - (rest & 3)  # +1 before a 0, -1 before a 1: no two neighbours are set
            rest -= digit
            digits.append(((digit < 0) != (integer < 0), power))
        rest >>= 1
        power += 1
    return digits[::-1]
