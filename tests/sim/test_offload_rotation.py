"""Rotational staggered pipelining: exact properties of the schedule for 2 to 8 batches."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.sim.families.offload_rotation import POOL, cycle, replicas, rotate

BATCHES = range(2, 9)
MODEL = Fraction(7, 3)


def balanced(n: int):
    """Attention takes its share of the model part: ta = tm / (n - 1)."""
    return rotate(n, MODEL, MODEL / (n - 1), layers=5, tokens=4)


@pytest.mark.parametrize("n", BATCHES)
def test_a_resource_does_one_thing_at_a_time(n: int) -> None:
    played = rotate(n, MODEL, Fraction(4, 5), Fraction(1, 7), layers=5, tokens=4)
    for resource in (POOL, *range(n - 1)):
        for job, following in pairwise(played.on(resource)):
            assert job.end <= following.start


@pytest.mark.parametrize("n", BATCHES)
def test_no_bubbles_when_balanced(n: int) -> None:
    """Between the first work of the last batch and the end of the first batch nothing is idle."""
    played = balanced(n)
    end = min(times[-1] for times in played.tokens)
    for resource in (POOL, *range(n - 1)):
        jobs = [job for job in played.on(resource) if job.end <= end]
        steady = [pair for pair in pairwise(jobs) if pair[0].slice >= 1]
        assert steady
        assert all(job.end == following.start for job, following in steady)


@pytest.mark.parametrize("n", BATCHES)
def test_slices_keep_their_order_and_place(n: int) -> None:
    played = balanced(n)
    for batch in range(n):
        mine = [job for job in played.jobs if job.batch == batch]
        model = [job for job in mine if job.resource != POOL]
        attention = [job for job in mine if job.resource == POOL]
        assert [job.slice for job in model] == [job.slice for job in attention] == list(range(20))
        assert all(job.resource == (batch + job.slice) % (n - 1) for job in model)
        for before, after in zip(model, attention, strict=True):
            assert before.end <= after.start
        for before, after in zip(attention, model[1:], strict=False):
            assert before.end <= after.start


@pytest.mark.parametrize("n", BATCHES)
def test_replicas_start_one_after_the_other(n: int) -> None:
    played = balanced(n)
    first = [played.on(replica)[0].start for replica in range(n - 1)]
    assert first == [replica * MODEL / (n - 1) for replica in range(n - 1)]


@pytest.mark.parametrize("n", BATCHES)
def test_throughput_when_balanced(n: int) -> None:
    played = balanced(n)
    assert cycle(n, MODEL, MODEL / (n - 1)) == n * MODEL / (n - 1)
    assert played.time_between_tokens == 5 * n * MODEL / (n - 1)


tenths = st.integers(1, 50).map(lambda number: Fraction(number, 10))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(1, 8), tenths, tenths, st.integers(0, 20), st.integers(1, 9))
def test_events_agree_with_the_closed_form(n, model, attention, network, layers) -> None:
    between = Fraction(network, 10)
    played = rotate(n, model, attention, between, layers=layers, tokens=4)
    expected = layers * cycle(n, model, attention, between)
    for times in played.tokens:
        assert times[-1] - times[-2] == expected
    early = min(model, between)
    played = rotate(n, model, attention, between, layers=layers, tokens=4, early=early)
    assert played.time_between_tokens == layers * cycle(n, model, attention, between, early)


def test_one_batch_has_one_replica() -> None:
    assert [replicas(n) for n in (1, 2, 3, 8)] == [1, 1, 2, 7]
    assert rotate(1, 2, 1, 1, layers=3, tokens=2).makespan == 24
