"""Operands of the attention unit: queries with the factor folded in, keys and values in a format.

Takes what a compute device sends and a KV cache holds, in floating point; gives the integers of
``plait.models.golden.attention``, for any format of KV, and which tokens a mask leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError, SpecError
from plait.models.formats import Format, get
from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT, Partial, Widths
from plait.models.golden.bit_serial import accumulate, align, multiply, split_fp16
from plait.models.golden.fixed import Integers, shift_right

__all__ = [
    "Cache",
    "Query",
    "attend_cache",
    "blocks",
    "dense",
    "encode_cache",
    "fold_query",
    "integer_grid",
    "lambda_segments",
    "score_shifts",
    "tokens_of",
]

FP16_LANES = 16
FP16_GUARD_BITS = 3
FP16_ACCUMULATOR_BITS = 24
_FP16_VALUE_DROP = 3  # as many bits of p times an FP16 value as integers would have
_FP16_UNIT = 25
_SCORE_SHIFT = _FP16_UNIT + unit.SCALE_HEADROOM
_QUERY_RANGE = unit.LARGEST_SHIFT - unit.LEAST_SCORE_SHIFT - unit.VALUE_BITS

Segments = NDArray[np.int64]  # [segments, 2]: first token, number of tokens


@dataclass(frozen=True, slots=True)
class Query:
    """Query heads of one KV head, log2(e) / sqrt(head_size) folded in.

    Args:
        integers: int64 [heads, head_size], 16 bits.
        exponents: [heads]; an integer is value * 2^exponent.
        halves: the same as FP16, for caches in floating point.
    """

    integers: Integers
    exponents: Integers
    halves: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of one KV head, as a memory device holds them.

    Args:
        format: name of the number format.
        keys, values: int64 [tokens, head_size] in integer formats, float16 in floating-point ones.
        key_scales, value_scales: FP16 [tokens]; ones in floating-point formats.
        unit_bits: an integer is value * 2^unit_bits / scale.
    """

    format: str
    keys: NDArray[np.int64] | NDArray[np.float16]
    values: NDArray[np.int64] | NDArray[np.float16]
    key_scales: NDArray[np.float16]
    value_scales: NDArray[np.float16]
    unit_bits: int

    @property
    def is_floating(self) -> bool:
        """Whether every element has an exponent of its own."""
        return self.keys.dtype == np.float16

    @property
    def value_shift(self) -> int:
        """The finest unit of the accumulators that suits every value here."""
        if self.is_floating:
            return (
                int(split_fp16(self.values.astype(np.float16))[1].max(initial=1)) + _FP16_VALUE_DROP
            )
        return int(split_fp16(self.value_scales)[1].max(initial=1)) + unit.VALUE_DROP

    def take(self, segments: Segments) -> Cache:
        """The tokens of the segments, in their order."""
        at = tokens_of(segments, len(self.keys))
        scales = self.key_scales[at], self.value_scales[at]
        return Cache(self.format, self.keys[at], self.values[at], *scales, self.unit_bits)


def fold_query(query: NDArray[np.floating], widths: Widths = DEFAULT) -> Query:
    """Quantise query heads [heads, head_size] to 16 bits, by a power of two a head."""
    folded = np.asarray(query, np.float64) * math.log2(math.e) / math.sqrt(query.shape[-1])
    if not np.isfinite(folded).all():
        raise FormatError("infinity or NaN in a query", expected="finite numbers")
    largest = np.abs(folded).max(axis=-1)
    most = (1 << (unit.QUERY_BITS - 1)) - 1
    least = unit.LEAST_SCORE_SHIFT - _SCORE_SHIFT + widths.score_fraction_bits
    if (largest * 2.0**least > most).any():
        raise FormatError(
            "too large for the unit of the scores",
            where="query",
            got=float(largest.max()),
            expected=f"at most {most * 2.0**-least:g} after log2(e) / sqrt(head_size)",
        )
    with np.errstate(divide="ignore"):
        exponents = np.floor(np.log2(most / largest))
    # A query of nearly nothing needs no finer unit than score_shift expresses.
    exponents = np.minimum(exponents, least + _QUERY_RANGE).astype(np.int64)
    integers = np.rint(folded * np.exp2(exponents)[:, np.newaxis]).clip(-most, most)
    return Query(integers.astype(np.int64), exponents, folded.astype(np.float16))


def encode_cache(
    keys: NDArray[np.floating], values: NDArray[np.floating], format: str = "int8"
) -> Cache:
    """Quantise keys and values [tokens, head_size].

    fp16, and FP8, which FP16 holds exactly, keep their exponents. All other formats get an FP16
    scale a token, the smallest that cuts off nothing, and integers of at most 8 bits.
    """
    if format == "fp16" or format.startswith("fp8"):
        ones = np.ones(len(keys), np.float16)
        kept = [_floating(part, format) for part in (keys, values)]
        return Cache(format, kept[0], kept[1], ones, ones, 0)
    table, unit_bits = integer_grid(get(format))
    (k, k_scales), (v, v_scales) = (_integers(part, get(format), table) for part in (keys, values))
    return Cache(format, k, v, k_scales, v_scales, unit_bits)


def integer_grid(fmt: Format) -> tuple[Integers, int]:
    """A format's table [codes] as integers of 8 bits, times 2^unit_bits."""
    if fmt.selectors == 1 and not fmt.is_asymmetric and fmt.group_size is None:
        table = np.nan_to_num(fmt.table[0])
        for unit_bits in range(unit.VALUE_BITS):
            scaled = table * 2.0**unit_bits
            if (scaled == np.rint(scaled)).all() and np.abs(scaled).max() <= 128:
                return scaled.astype(np.int64), unit_bits
    raise FormatError(
        "the attention unit cannot hold it: its values are no integers of 8 bits with one scale",
        where="kv format",
        got=fmt.name,
        expected="such as int8, int4, fp4, or fp8-e4m3, fp16",
    )


def score_shifts(query: Query, cache: Cache, widths: Widths = DEFAULT) -> Integers:
    """Shift [heads] from integer dot product times mantissa to a score, 30 to 63."""
    return query.exponents + cache.unit_bits + _SCORE_SHIFT - widths.score_fraction_bits


def attend_cache(
    query: Query,
    cache: Cache,
    value_shift: int,
    widths: Widths = DEFAULT,
    *,
    segments: Segments | None = None,
    unified: int | None = None,
) -> Partial:
    """Partial result of a cache, or of the tokens of the segments."""
    held = cache if segments is None else cache.take(segments)
    if not held.is_floating:
        scores = unit.integer_scores(
            query.integers,
            held.keys.astype(np.int64),
            held.key_scales,
            score_shifts(query, cache, widths),
            widths,
        )
        values = held.values.astype(np.int64)
        return unit.attend(scores, values, held.value_scales, value_shift, widths, unified=unified)
    unit.check_tokens(len(held.keys), widths)
    sign, exponent, mantissa = split_fp16(held.values.astype(np.float16))
    unit.check_value_shift(
        int(exponent.max(initial=1)) + _FP16_VALUE_DROP - unit.VALUE_DROP, value_shift
    )
    scores = _floating_scores(query.halves, held.keys.astype(np.float16), widths)
    weights = (mantissa, value_shift - exponent)
    return unit.accumulate_tokens(scores, 1 - 2 * sign, weights, widths, unified, by_element=True)


def dense(tokens: int) -> Segments:
    """Every token."""
    return np.array([[0, tokens]], np.int64)


def lambda_segments(tokens: int, sinks: int, window: int) -> Segments:
    """The first ``sinks`` and the last ``window`` tokens (LM-Infinite, arXiv 2308.16137).

    >>> lambda_segments(100, sinks=4, window=10).tolist()
    [[0, 4], [90, 10]]
    """
    if sinks + window >= tokens:
        return dense(tokens)
    parts = np.array([[0, sinks], [tokens - window, window]], np.int64)
    return parts[parts[:, 1] > 0]


def blocks(tokens: int, chosen: Sequence[int], block: int) -> Segments:
    """The chosen blocks of ``block`` tokens (HiP, or with blocks of one token GemFilter).

    >>> blocks(100, [0, 6], block=16).tolist()
    [[0, 16], [96, 4]]
    """
    first = np.asarray(chosen, np.int64) * block
    if len(first) and not (first.min() >= 0 and first.max() < tokens):
        raise SpecError(
            "a block outside the context",
            where="blocks",
            got=[int(first.min()) // block, int(first.max()) // block],
            expected=f"0 to {(tokens - 1) // block}",
        )
    return np.stack([first, np.minimum(block, tokens - first)], axis=1).reshape(-1, 2)


def tokens_of(segments: Segments, tokens: int) -> Integers:
    """Numbers of the tokens of all segments, in order."""
    parts = [np.arange(first, first + count) for first, count in np.asarray(segments)]
    chosen = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < tokens):
        raise SpecError(
            "a segment outside the context",
            where="segments",
            got=[int(chosen.min()), int(chosen.max())],
            expected=f"tokens 0 to {tokens - 1}",
        )
    return chosen


def _floating(values: NDArray[np.floating], format: str) -> NDArray[np.float16]:
    """Round to the format; a scale is not needed, but range is: what is beyond it is refused."""
    if format == "fp16":
        with np.errstate(over="ignore"):
            halves = np.asarray(values).astype(np.float16)
    else:
        fmt = get(format)
        largest = np.nanmax(fmt.table[0])
        inside = np.clip(np.asarray(values, np.float32), -largest, largest)
        halves = fmt.decode(fmt.encode(inside)).astype(np.float16)
    if not np.isfinite(halves).all():
        raise FormatError("infinity or NaN in the cache", where=format, expected="finite numbers")
    return halves


def _integers(
    values: NDArray[np.floating], fmt: Format, table: Integers
) -> tuple[Integers, NDArray[np.float16]]:
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        raise FormatError("infinity or NaN in the cache", where=fmt.name, expected="finite numbers")
    reach = min(np.nanmax(fmt.table[0]), -np.nanmin(fmt.table[0]))
    wanted = np.abs(numbers).max(axis=1, initial=0) / reach
    scales = wanted.astype(np.float16)
    scales = np.where(scales < wanted, np.nextafter(scales, np.float16(np.inf)), scales)
    scales = np.maximum(scales, np.finfo(np.float16).tiny)
    if not np.isfinite(scales).all():
        raise FormatError("a token's scale is beyond FP16", where=fmt.name, got=float(wanted.max()))
    codes = fmt.encode((numbers / scales[:, np.newaxis].astype(np.float64)).astype(np.float32))
    return table[codes], scales


def _floating_scores(
    queries: NDArray[np.float16], keys: NDArray[np.float16], widths: Widths
) -> Integers:
    """Scores [heads, tokens]: align, multiply, accumulate as the bit-serial PE does.

    A step takes FP16_LANES products of two mantissas of 11 bits, cut FP16_GUARD_BITS below that of
    the largest exponent.
    """
    pad = -keys.shape[1] % FP16_LANES
    q_sign, q_exponent, q_mantissa = (
        np.pad(part, ((0, 0), (0, pad)))[:, np.newaxis] for part in split_fp16(queries)
    )
    k_sign, k_exponent, k_mantissa = (
        np.pad(part, ((0, 0), (0, pad)))[np.newaxis] for part in split_fp16(keys)
    )
    shape = (len(queries), len(keys))
    total = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for first in range(0, k_mantissa.shape[-1], FP16_LANES):
        at = np.s_[..., first : first + FP16_LANES]
        largest, shift = align(q_exponent[at], k_exponent[at])
        products = multiply(
            q_mantissa[at], k_mantissa[at], q_sign[at] ^ k_sign[at], shift, FP16_GUARD_BITS
        )
        total = accumulate(total, products.sum(axis=-1), largest, 0, FP16_ACCUMULATOR_BITS)
    mantissa, exponent = total
    distance = 2 * _FP16_UNIT + FP16_GUARD_BITS - widths.score_fraction_bits - exponent
    fixed = shift_right(mantissa << np.maximum(-distance, 0), np.maximum(distance, 0))
    return unit.saturate(fixed, widths)
