"""Attention on a memory device, step by step, on int64 arrays: the definition the RTL follows.

Takes G query heads of one KV head and the tokens that a device holds; gives a partial result
(reference m, sum S, accumulators A), which shards of the context combine and a compute device
divides. Numbers are base 2 throughout:

    s = (q . k) log2(e) / sqrt(d)    fixed point, ``score_fraction_bits``; the factor is in q
    m = ceil(largest s so far)       an integer, so that rescaling is a shift
    p = 2^(s - m), S += p, A += p v

Integer operands: q of 16 bits, k and v of 8 bits with an FP16 scale a token. The unit of q is a
power of two a head (``score_shift``), that of A one a KV head (``value_shift``). All shifts to the
right are floors. Running reference and combine: online softmax (arXiv 1805.02867) with the
reference rounded up; unified maximum: FlashDecoding++ (arXiv 2311.01282).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.models.golden.bit_serial import split_fp16
from plait.models.golden.fixed import Integers, shift_right

__all__ = [
    "DEFAULT",
    "QUERY_BITS",
    "UNIFIED_SLACK",
    "VALUE_BITS",
    "VALUE_DROP",
    "Partial",
    "Widths",
    "accumulate_tokens",
    "attend",
    "ceiling",
    "check_tokens",
    "check_value_shift",
    "combine",
    "combine_all",
    "divide",
    "empty",
    "exp2",
    "exp2_table",
    "integer_scores",
    "is_unsuited",
    "saturate",
    "score",
    "split_bound",
    "weigh",
]

QUERY_BITS = 16
VALUE_BITS = 8  # of k and v
SCALE_HEADROOM = 15  # so that one right shift serves every pair of exponents
LARGEST_SHIFT = 63
LEAST_SCORE_SHIFT = 30  # the largest exponent of FP16: the distance is never negative
VALUE_DROP = 10  # a weight, p times a mantissa of 11 bits, loses so many bits at least
UNIFIED_SLACK = 8  # the largest score may be so far below a unified maximum
_GOLDEN_BITS = 62


@dataclass(frozen=True, slots=True)
class Widths:
    """Widths of the unit.

    Args:
        score_fraction_bits: of a score.
        score_bits: of a score in all, two's complement; it saturates.
        table_bits: the table of 2^x has 2**table_bits entries, between them it is linear.
        probability_bits: fraction bits of an entry.
        guard_bits: that p has beyond them. Every p loses less than 2^-fraction, S is 1/2 or more,
            so S loses less than its 2^(1 - fraction) tokens: with 13 at 2^15 tokens under 2^-15.
        context_bits: a device holds at most 2**context_bits tokens of a job.
    """

    score_fraction_bits: int = 12
    score_bits: int = 24
    table_bits: int = 6
    probability_bits: int = 18
    guard_bits: int = 13
    context_bits: int = 15

    def __post_init__(self) -> None:
        for name, least, most in (
            ("score_fraction_bits", 1, 30),
            ("score_bits", self.score_fraction_bits + 2, self.score_fraction_bits + 16),
            ("table_bits", 1, min(self.score_fraction_bits, 16)),
            ("probability_bits", 2, 30),
            ("guard_bits", 0, 30),
            ("context_bits", 1, 24),
        ):
            if not least <= getattr(self, name) <= most:
                raise SpecError(
                    "there is no attention unit of such a width",
                    where=name,
                    got=getattr(self, name),
                    expected=f"{least} to {most}",
                )
        if self.accumulator_bits > _GOLDEN_BITS:
            raise SpecError(
                "the accumulators are too wide",
                where="probability_bits + guard_bits + context_bits + 9",
                got=self.accumulator_bits,
                expected=f"at most {_GOLDEN_BITS}",
            )

    @property
    def fraction_bits(self) -> int:
        """Fraction bits of p and S."""
        return self.probability_bits + self.guard_bits

    @property
    def reference_bits(self) -> int:
        """Of the integer m, one more than the integer part of a score: a ceiling may round up."""
        return self.score_bits - self.score_fraction_bits + 1

    @property
    def weight_bits(self) -> int:
        """p is at most 2^fraction, a mantissa under 2^11: their product loses VALUE_DROP bits."""
        return self.fraction_bits + 1

    @property
    def sum_bits(self) -> int:
        """Unsigned: 2**context_bits times p of at most 2^fraction."""
        return self.fraction_bits + self.context_bits + 1

    @property
    def accumulator_bits(self) -> int:
        """Signed: 2**context_bits times a weight times a value of at most 2^7."""
        return self.weight_bits + VALUE_BITS - 1 + self.context_bits + 1

    @property
    def lowest_reference(self) -> int:
        """m of no token at all: below that of any score."""
        return -(1 << (self.reference_bits - 1))


DEFAULT = Widths()


@dataclass(frozen=True, slots=True)
class Partial:
    """What a shard of the context gives, for each of the query heads.

    Args:
        reference: m int64 [heads].
        sums: S int64 [heads], unit 2^-fraction_bits.
        accumulators: A int64 [heads, head_size], unit 2^(value_shift - 25 - fraction_bits).
        recomputed: whether a score did not suit the unified maximum.
    """

    reference: Integers
    sums: Integers
    accumulators: Integers
    recomputed: bool = False

    def equals(self, other: Partial) -> bool:
        """Bit for bit."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("reference", "sums", "accumulators")
        )


@cache
def exp2_table(table_bits: int, probability_bits: int) -> tuple[int, ...]:
    """2^(i / 2^table_bits) for i = 0 to 2^table_bits, rounded to ``probability_bits``."""
    steps = np.arange((1 << table_bits) + 1) / (1 << table_bits)
    return tuple(int(x) for x in np.rint(np.exp2(steps) * (1 << probability_bits)))


def exp2(difference: ArrayLike, widths: Widths = DEFAULT) -> Integers:
    """2^difference for a fixed-point difference of at most 0; unit 2^-fraction_bits.

    The integer part is a shift, the fraction a table with linear interpolation.

    >>> exp2([0, -1 << 12]).tolist() == [1 << 31, 1 << 30]
    True
    """
    fixed = np.asarray(difference, np.int64)
    fraction = fixed & ((1 << widths.score_fraction_bits) - 1)
    low_bits = widths.score_fraction_bits - widths.table_bits
    index, low = fraction >> low_bits, fraction & ((1 << low_bits) - 1)
    table = np.array(exp2_table(widths.table_bits, widths.probability_bits), np.int64)
    value = table[index] + (((table[index + 1] - table[index]) * low) >> low_bits)
    return shift_right(value << widths.guard_bits, -(fixed >> widths.score_fraction_bits))


def score(
    dot: ArrayLike, scale: NDArray[np.float16], score_shift: ArrayLike, widths: Widths = DEFAULT
) -> Integers:
    """Fixed-point score of an integer dot product times the FP16 scale of its token.

    floor(dot * mantissa * 2^15 / 2^(score_shift - exponent)), saturated to ``score_bits``;
    ``score_shift`` is 30 to 63.
    """
    _, exponent, mantissa = split_fp16(scale)
    product = (np.asarray(dot, np.int64) * mantissa) << SCALE_HEADROOM
    return saturate(shift_right(product, np.asarray(score_shift) - exponent), widths)


def integer_scores(
    queries: Integers,
    keys: Integers,
    key_scales: NDArray[np.float16],
    score_shifts: Integers,
    widths: Widths = DEFAULT,
) -> Integers:
    """Scores [heads, tokens] of integer operands; the dot products are exact.

    Args:
        queries: [heads, head_size], 16 bits.
        keys: [tokens, head_size], 8 bits.
        key_scales: [tokens], positive.
        score_shifts: [heads].
    """
    # Sums of products stay far under 2^53: exact in float64, whose products are the fast ones.
    dots = queries.astype(np.float64) @ keys.astype(np.float64).T
    return score(dots.astype(np.int64), key_scales[np.newaxis], score_shifts[:, np.newaxis], widths)


def ceiling(scores: ArrayLike, widths: Widths = DEFAULT) -> Integers:
    """The integer reference that a score asks for."""
    return -(-np.asarray(scores, np.int64) >> widths.score_fraction_bits)


def weigh(probability: ArrayLike, scale: NDArray[np.float16], value_shift: int) -> Integers:
    """p times the FP16 scale of its token's values: floor(p mantissa / 2^(value_shift - exp))."""
    _, exponent, mantissa = split_fp16(scale)
    check_value_shift(int(exponent.max(initial=0)), value_shift)
    return shift_right(np.asarray(probability, np.int64) * mantissa, value_shift - exponent)


def check_value_shift(largest_exponent: int, value_shift: int) -> None:
    """Refuse a unit of A that could overflow: weights must lose VALUE_DROP bits or more."""
    if not largest_exponent + VALUE_DROP <= value_shift <= LARGEST_SHIFT:
        raise SpecError(
            "the unit of the accumulators does not suit the scales of the values",
            where="value_shift",
            got=value_shift,
            expected=f"{largest_exponent + VALUE_DROP} to {LARGEST_SHIFT}",
        )


def empty(heads: int, head_size: int, widths: Widths = DEFAULT) -> Partial:
    """The partial result of no token."""
    reference = np.full(heads, widths.lowest_reference, np.int64)
    return Partial(reference, np.zeros(heads, np.int64), np.zeros((heads, head_size), np.int64))


def attend(
    scores: Integers,
    values: Integers,
    value_scales: NDArray[np.float16],
    value_shift: int,
    widths: Widths = DEFAULT,
    *,
    unified: int | None = None,
) -> Partial:
    """Partial result of the tokens in their order.

    With a unified maximum every p refers to it; if the largest score is above it, or more than
    UNIFIED_SLACK below, the tokens are taken once more with the running reference.

    Args:
        scores: [heads, tokens], fixed point.
        values: [tokens, head_size], 8 bits.
        value_scales: FP16 [tokens].
        unified: an integer reference; None runs one along.
    """
    check_tokens(scores.shape[1], widths)
    _, exponents, mantissas = split_fp16(value_scales)
    check_value_shift(int(exponents.max(initial=0)), value_shift)
    weights = (mantissas, value_shift - exponents)
    return accumulate_tokens(scores, np.asarray(values, np.int64), weights, widths, unified)


def accumulate_tokens(
    scores: Integers,
    values: Integers,
    weights: tuple[Integers, Integers],
    widths: Widths,
    unified: int | None = None,
    by_element: bool = False,
) -> Partial:
    """The recurrence over tokens, for either kind of values.

    Args:
        weights: mantissa and right shift that p gets, [tokens], or a pair [tokens, head_size] for
            values with exponents of their own (by_element; ``values`` is then their sign).
    """
    heads, tokens = scores.shape
    partial = empty(heads, values.shape[1], widths)
    if not tokens:
        return partial
    running = np.maximum.accumulate(ceiling(scores, widths), axis=1)
    if unified is not None:
        if not is_unsuited(running[:, -1], unified).any():
            running = np.full_like(running, unified)
        else:
            again = accumulate_tokens(scores, values, weights, widths, None, by_element)
            return Partial(again.reference, again.sums, again.accumulators, recomputed=True)
    probabilities = exp2(scores - (running << widths.score_fraction_bits), widths)
    for head in range(heads):
        p = probabilities[head]
        # Between two changes of the reference nothing is shifted: exact sums of integers.
        starts = np.flatnonzero(np.diff(running[head], prepend=running[head, 0] - 1))
        for first, last in zip(starts, [*starts[1:], tokens], strict=True):
            run = slice(first, last)
            change = running[head, first] - partial.reference[head]
            partial.reference[head] = running[head, first]
            partial.sums[head] = shift_right(partial.sums[head], change) + p[run].sum()
            if by_element:
                products = p[run, np.newaxis] * weights[0][run]
                added = (values[run] * shift_right(products, weights[1][run])).sum(axis=0)
            else:
                added = _sum(shift_right(p[run] * weights[0][run], weights[1][run]), values[run])
            partial.accumulators[head] = shift_right(partial.accumulators[head], change) + added
    return partial


def is_unsuited(largest: Integers, unified: int) -> NDArray[np.bool_]:
    """Whether a head's largest integer reference does not suit the unified maximum."""
    return (largest > unified) | (largest < unified - UNIFIED_SLACK)


def combine(left: Partial, right: Partial) -> Partial:
    """Two shards as one: the sums of the smaller reference are shifted right, then added."""
    reference = np.maximum(left.reference, right.reference)
    falls = reference - left.reference, reference - right.reference
    sums = shift_right(left.sums, falls[0]) + shift_right(right.sums, falls[1])
    accumulators = shift_right(left.accumulators, falls[0][:, np.newaxis]) + shift_right(
        right.accumulators, falls[1][:, np.newaxis]
    )
    return Partial(reference, sums, accumulators, left.recomputed or right.recomputed)


def combine_all(shards: Iterable[tuple[int, Partial]]) -> Partial:
    """All shards (number, partial result), whatever their order of arrival, by their number."""
    ordered = [partial for _, partial in sorted(shards, key=lambda item: item[0])]
    if not ordered:
        raise SpecError("no shard to combine", where="shards")
    total = ordered[0]
    for partial in ordered[1:]:
        total = combine(total, partial)
    return total


def divide(partial: Partial, value_shift: int) -> NDArray[np.float64]:
    """Outputs [heads, head_size] at the compute device: A / S in units of the values."""
    if not (partial.sums > 0).all():
        raise SpecError("attention over no token", where="divide")
    return partial.accumulators / partial.sums[:, np.newaxis] * 2.0 ** (value_shift - 25)


def split_bound(
    partial: Partial, tokens: int, shards: int, value_shift: int
) -> NDArray[np.float64]:
    """How far outputs [heads, head_size] of two splits into up to ``shards`` can lie apart.

    Both split the same scores, so both have the same reference and differ by floors alone. A p
    loses under one unit, a change of the reference or a combine under one more, and all that was
    lost before at least halves with the first: S differs by less than tokens + 2 + shards units.
    A weight is p times under 2 (11 bits of mantissa less VALUE_DROP), floored: A[j] differs by less
    than 3 * 2^7 units a token, and 2 + shards.
    """
    scale = 2.0 ** (value_shift - 25)
    lost_sum, lost_value = tokens + 2 + shards, 3 * 2 ** (VALUE_BITS - 1) * tokens + 2 + shards
    least = np.maximum(partial.sums - lost_sum, 1)[:, np.newaxis]
    output = np.abs(partial.accumulators) / partial.sums[:, np.newaxis]
    return (lost_value + output * lost_sum) / least * scale


def _sum(weights: Integers, values: Integers) -> Integers:
    """Exact weights @ values: two halves of the weights, each a float64 product under 2^53."""
    halves = np.stack([weights >> 18, weights & ((1 << 18) - 1)]).astype(np.float64)
    high, low = (halves @ values.astype(np.float64)).astype(np.int64)
    return (high << 18) + low


def saturate(values: Integers, widths: Widths) -> Integers:
    """Cut scores off at ``score_bits``."""
    limit = 1 << (widths.score_bits - 1)
    return np.clip(values, -limit, limit - 1)


def check_tokens(tokens: int, widths: Widths) -> None:
    """Refuse more tokens than the accumulators are proven for."""
    if tokens > 1 << widths.context_bits:
        raise SpecError(
            "more tokens than the accumulators are wide for",
            where="context_bits",
            got=tokens,
            expected=f"at most {1 << widths.context_bits}",
        )
