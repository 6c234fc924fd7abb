"""Golden attention: each step alone, the whole against float64, shards against the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import PlaitError
from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT, Widths
from plait.models.golden.attention_operands import (
    Cache,
    Query,
    attend_cache,
    blocks,
    dense,
    encode_cache,
    fold_query,
    integer_grid,
    lambda_segments,
    tokens_of,
)

WIDE = Widths(
    score_fraction_bits=24,
    score_bits=40,
    table_bits=12,
    probability_bits=28,
    guard_bits=8,
    context_bits=14,
)
# Largest error, relative in the Frobenius norm, of the default widths: measured 2.6e-5 to 5.3e-5.
# A floored score is worth up to 2^-12 ln 2 = 1.7e-4 in p, the same for all tokens in the mean.
DEFAULT_ERROR = 1e-4


def operands(tokens: int, format: str = "int8", seed: int = 0) -> tuple[Query, Cache]:
    rng = np.random.default_rng(seed)
    query = fold_query(2 * rng.standard_normal((3, 64)))
    return query, encode_cache(*rng.standard_normal((2, tokens, 64)), format)


def float64_outputs(query: Query, cache: Cache) -> np.ndarray:
    """Attention of the very operands that the unit gets."""
    scales = (cache.key_scales, cache.value_scales)
    keys, values = (
        part.astype(np.float64) * scale[:, np.newaxis].astype(np.float64) / 2**cache.unit_bits
        for part, scale in zip((cache.keys, cache.values), scales, strict=True)
    )
    integers = query.integers / np.exp2(query.exponents)[:, np.newaxis]
    scores = (query.halves.astype(np.float64) if cache.is_floating else integers) @ keys.T
    weights = np.exp2(scores - scores.max(axis=1, keepdims=True))
    return weights @ values / weights.sum(axis=1, keepdims=True)


def error(query: Query, cache: Cache, widths: Widths) -> float:
    shift = cache.value_shift
    outputs = unit.divide(attend_cache(query, cache, shift, widths), shift) / 2**cache.unit_bits
    wanted = float64_outputs(query, cache)
    return float(np.linalg.norm(outputs - wanted) / np.linalg.norm(wanted))


def test_exp2_over_every_fraction():
    """Under 2^-15 relative; measured 0.51 of it. Shifts beyond are floors."""
    differences = np.arange(-(1 << DEFAULT.score_fraction_bits), 1)
    exact = np.exp2(differences / 2.0**DEFAULT.score_fraction_bits)
    values = unit.exp2(differences) / 2.0**DEFAULT.fraction_bits
    assert np.abs(values / exact - 1).max() < 0.52 * 2**-15
    assert (np.diff(values) >= 0).all()
    below = differences - (5 << DEFAULT.score_fraction_bits)
    assert (unit.exp2(below) == unit.exp2(differences) >> 5).all()
    assert unit.exp2(-(1 << 23)) == 0


@pytest.mark.parametrize("table_bits", [1, 4, 8, 12])
def test_exp2_of_other_tables(table_bits):
    """Linear interpolation errs by (h ln 2)^2 / 8 at the end of a piece; then three roundings."""
    widths = Widths(table_bits=table_bits)
    differences = np.arange(-(1 << 12), 1)
    exact = np.exp2(differences / 4096.0)
    step = 2.0**-table_bits
    bound = (step * np.log(2)) ** 2 / 8 * 2**step + 3 * 2.0**-widths.probability_bits
    assert np.abs(unit.exp2(differences, widths) / 2.0**31 / exact - 1).max() < bound


def test_score_is_a_floor_of_the_real_number():
    rng = np.random.default_rng(1)
    dots = rng.integers(-(2**28), 2**28, 500)
    scales = np.exp2(rng.uniform(-14, 0, 500)).astype(np.float16)
    shifts = rng.integers(42, 64, 500)
    exact = dots * scales.astype(np.float64) * np.exp2(25.0 + unit.SCALE_HEADROOM - shifts)
    limit = 2 ** (DEFAULT.score_bits - 1)
    assert (unit.score(dots, scales, shifts) == np.floor(exact).clip(-limit, limit - 1)).all()


def test_ceiling_is_an_integer_not_below_the_score():
    assert unit.ceiling([0, 1, 4096, 4097, -1, -4096, -4097]).tolist() == [0, 1, 1, 2, 0, -1, -1]


def test_recurrence_token_by_token():
    """The runs of equal reference in ``attend`` change nothing."""
    rng = np.random.default_rng(3)
    scores = rng.integers(-(1 << 16), 1 << 16, (2, 50))
    values = rng.integers(-128, 128, (50, 8))
    scales = np.exp2(rng.uniform(-8, 0, 50)).astype(np.float16)
    got = unit.attend(scores, values, scales, 25)
    for head in range(2):
        m, total, sums = DEFAULT.lowest_reference, 0, np.zeros(8, np.int64)
        for token in range(50):
            new = max(m, int(unit.ceiling(scores[head, token])))
            p = int(unit.exp2(scores[head, token] - (new << DEFAULT.score_fraction_bits)))
            weight = int(unit.weigh(p, scales[token : token + 1], 25)[0])
            total = (total >> min(new - m, 63)) + p
            sums = (sums >> min(new - m, 63)) + weight * values[token]
            m = new
        assert (m, total) == (got.reference[head], got.sums[head])
        assert sums.tolist() == got.accumulators[head].tolist()


@pytest.mark.parametrize("format", ["int8", "fp16", "int4", "fp4", "fp8-e4m3"])
def test_wide_settings_are_float64(format):
    assert error(*operands(512, format), WIDE) < 1e-6


@pytest.mark.parametrize(
    "tokens", [128, 512, 2048, *(pytest.param(n, marks=pytest.mark.slow) for n in (8192, 32768))]
)
def test_default_settings_over_context(tokens):
    assert error(*operands(tokens, seed=tokens), DEFAULT) < DEFAULT_ERROR


@pytest.mark.parametrize("format", ["fp16", "int4", "fp4", "fp8-e4m3", "fp8-e5m2"])
def test_default_settings_over_formats(format):
    assert error(*operands(512, format), DEFAULT) < DEFAULT_ERROR


def test_many_small_weights_do_not_vanish():
    """One token far ahead of 2^15 - 1 others, which have 2^-5 of the sum between them."""
    scores = np.full((1, 1 << 15), -20 << DEFAULT.score_fraction_bits)
    scores[0, 0] = 0
    ones = np.ones((1 << 15, 1), np.int64)
    scales = np.ones(1 << 15, np.float16)
    sums = unit.attend(scores, ones, scales, 25).sums / 2.0**DEFAULT.fraction_bits
    assert abs(sums[0] / (1 + ((1 << 15) - 1) * 2.0**-20) - 1) < 2**-15


def test_accumulators_hold_the_worst_case():
    tokens = 1 << DEFAULT.context_bits
    scores = np.zeros((1, tokens), np.int64)
    scales = np.full(tokens, np.float16(2047 / 1024))
    shift = 15 + unit.VALUE_DROP
    partial = unit.attend(scores, np.full((tokens, 1), -128), scales, shift)
    assert -(1 << (DEFAULT.accumulator_bits - 1)) <= partial.accumulators.min()
    assert partial.accumulators.min() < -(1 << (DEFAULT.accumulator_bits - 2))
    assert partial.sums.max() == tokens << DEFAULT.fraction_bits
    assert int(partial.sums.max()).bit_length() == DEFAULT.sum_bits


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 300), st.integers(1, 3), st.integers(0, 9999), st.floats(0.1, 30))
def test_shards_combine_to_the_whole(tokens, shards, seed, spread):
    rng = np.random.default_rng(seed)
    query = fold_query(spread * rng.standard_normal((2, 16)))
    cache = encode_cache(*rng.standard_normal((2, tokens, 16)))
    shift = cache.value_shift
    whole = attend_cache(query, cache, shift)
    cuts = np.sort(rng.integers(0, tokens + 1, shards - 1))
    ends = [0, *cuts.tolist(), tokens]
    parts = [
        (i, attend_cache(query, cache, shift, segments=np.array([[first, last - first]])))
        for i, (first, last) in enumerate(itertools.pairwise(ends))
    ]
    together = unit.combine_all(parts)
    for order in itertools.permutations(parts):
        assert unit.combine_all(order).equals(together)
    difference = np.abs(unit.divide(together, shift) - unit.divide(whole, shift))
    assert (together.reference == whole.reference).all()
    assert (difference <= unit.split_bound(whole, tokens, shards, shift)).all()


def test_empty_shard_changes_nothing():
    query, cache = operands(40)
    partial = attend_cache(query, cache, cache.value_shift)
    nothing = attend_cache(query, cache, cache.value_shift, segments=np.zeros((0, 2), np.int64))
    assert nothing.equals(unit.empty(3, 64))
    assert unit.combine(nothing, partial).equals(partial)
    assert unit.combine(partial, nothing).equals(partial)
    with pytest.raises(PlaitError, match="over no token"):
        unit.divide(nothing, cache.value_shift)


def test_unified_maximum():
    """Inside its bounds as good as the running one; outside it is the running one."""
    query, cache = operands(200)
    shift = cache.value_shift
    running = attend_cache(query, cache, shift)
    top = int(running.reference.max())
    good = attend_cache(query, cache, shift, unified=top + 1)
    assert not good.recomputed
    assert (good.reference == top + 1).all()
    assert np.allclose(unit.divide(good, shift), unit.divide(running, shift), atol=1e-4)
    for unsuited in (top - 1, top + 9 + int(np.ptp(running.reference))):
        again = attend_cache(query, cache, shift, unified=unsuited)
        assert again.recomputed
        assert again.equals(running)


def test_masks_are_segments():
    query, cache = operands(100)
    for segments in (lambda_segments(100, 4, 16), blocks(100, [1, 6], 16), dense(100)):
        at = tokens_of(segments, 100)
        parts = (cache.keys, cache.values, cache.key_scales, cache.value_scales)
        held = Cache("int8", *(part[at] for part in parts), 0)
        masked = attend_cache(query, cache, cache.value_shift, segments=segments)
        assert masked.equals(attend_cache(query, held, cache.value_shift))
    assert lambda_segments(100, 0, 16).tolist() == [[84, 16]]
    assert lambda_segments(20, 4, 16).tolist() == [[0, 20]]


@pytest.mark.parametrize("format", ["int8", "int4", "fp4", "int5", "fp6-e2m3"])
def test_integer_grid_is_the_formats_table(format):
    from plait.models.formats import get

    table, bits = integer_grid(get(format))
    assert np.array_equal(table / 2.0**bits, np.nan_to_num(get(format).table[0]))
    assert np.abs(table).max() <= 128


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode_cache(*np.ones((2, 3, 8)), "mxfp4"), "no integers of 8 bits"),
        (lambda: encode_cache(*np.full((2, 3, 8), np.inf)), "infinity or NaN"),
        (lambda: fold_query(np.full((1, 8), np.nan)), "infinity or NaN"),
        (lambda: fold_query(np.full((1, 8), 1e9)), "too large"),
        (lambda: blocks(100, [7], 16), "outside the context"),
        (lambda: tokens_of(np.array([[90, 11]]), 100), "outside the context"),
        (lambda: attend_cache(*operands(4), 12), "value_shift"),
        (lambda: attend_cache(*operands(5), 25, Widths(context_bits=2)), "at most 4"),
        (lambda: Widths(table_bits=13), "table_bits"),
        (lambda: Widths(context_bits=24), "accumulators are too wide"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(PlaitError, match=message):
        call()
