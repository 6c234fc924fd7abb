"""Runs whose results can be worked out on paper, and what holds for every run."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plait
from plait.sim.serving import request, run, serve
from plait.sim.serving.metrics import outcome as real_outcome

POLICIES = ["continuous_batching", "chunked_prefill", "prompt_decode_split", "distributed_kv"]
NETWORK = {"bandwidth_bytes_per_s": 1e12, "round_trip_s": 1e-5}


def of_policy(policy: str, describe, **more):
    """A cluster of two instances with some policy."""
    found = describe(instances=2, policy=policy, network=NETWORK, **more)
    if policy == "prompt_decode_split":
        half = {**found["devices"][0], "count": 1}
        found["devices"] = [half | {"role": "prompt"}, half | {"role": "decode"}]
    return found


def test_one_request(cluster, trace) -> None:
    result = serve(trace((5.0, 100, 4)), cluster())
    row = result.requests.iloc[0]
    assert row.time_to_first_token_s == pytest.approx(0.1)
    assert row.time_between_tokens_s == pytest.approx(0.010)
    assert row.finish_s == pytest.approx(5.13)
    assert result.makespan_s == pytest.approx(0.13)
    assert result.throughput_tokens_per_s == pytest.approx(4 / 0.13)
    assert result.throughput_per_dollar == pytest.approx(4 / 0.13 * 3600 / 11.06)
    assert result.time_between_tokens_s["p99"] == pytest.approx(0.010)
    assert (result.batch_mean, result.utilisation) == (1.0, pytest.approx(1.0))


def test_prompts_go_first_and_together(cluster, trace) -> None:
    """Two at once are prefilled together; a third stops the others for the time of its prompt."""
    result = serve(trace((0, 100, 4), (0, 200, 4), (0.305, 50, 1)), cluster())
    table = result.requests
    assert table.time_to_first_token_s.tolist() == pytest.approx([0.3, 0.3, 0.311 + 0.05 - 0.305])
    assert table.longest_gap_s.tolist()[:2] == pytest.approx([0.05 + 0.011] * 2)
    assert table.response_s.tolist()[:2] == pytest.approx([0.3 + 3 * 0.011 + 0.05] * 2)


def test_chunks_leave_the_others_going(cluster, trace) -> None:
    """100 tokens an iteration: 99 of the long prompt beside one that decodes."""
    batching = {"chunk_tokens": 100, "reserve": 0.0}
    described = cluster(policy="chunked_prefill", batching=batching)
    table = serve(trace((0, 100, 50), (0.05, 990, 2)), described).requests
    first = 0.1 + 10 * 0.1  # ten iterations of 100 tokens and a step of the other one
    # the step of a mixed iteration: its tokens as prefill, and attention of the decoding one
    assert table.longest_gap_s[0] == pytest.approx(0.1 + 0.010, rel=1e-6)
    assert table.time_to_first_token_s[1] == pytest.approx(first + 10 * 0.010 - 0.05, rel=1e-6)


def test_split_sends_the_cache_layer_by_layer(cluster, trace, model) -> None:
    described = of_policy("prompt_decode_split", cluster)
    described["network"] = {"bandwidth_bytes_per_s": 1e7}
    row = serve(trace((0, 100, 3)), described).requests.iloc[0]
    moved = 100 * model.kv_bytes_per_token / 1e7
    shown = max(moved / model.layers, moved - 0.1 + 0.1 / model.layers)
    assert shown > moved / model.layers  # the network is the slower one here
    assert row.response_s == pytest.approx(0.1 + shown + 2 * 0.010)
    assert row.longest_gap_s == pytest.approx(shown + 0.010)


def test_eviction_computes_again(cluster, trace) -> None:
    """Two requests outgrow the memory together: the younger goes, and its tokens are not lost."""
    described = cluster(kv_tokens=64)
    result = serve(trace((0, 16, 33), (0, 16, 33)), described)
    table = result.requests
    assert table.preemptions.tolist() == [0, 1]
    assert result.counts["tokens"] == 66
    # after 17 tokens each holds 32 of 64; both want a third block of 16, the younger waits,
    # then prefills its 16 + 17 tokens
    assert result.counts["prompt_tokens"] == 16 + 16 + 33
    assert table.longest_gap_s[1] > table.longest_gap_s[0]


def test_a_neighbour_lends_memory(cluster, trace) -> None:
    """The third request fits beside the first one only with blocks of the other instance."""
    requests = trace((0, 10, 80), (0, 10, 80), (0.5, 40, 3))
    alone = serve(requests, cluster(kv_tokens=96, instances=2)).requests
    described = of_policy("distributed_kv", cluster, kv_tokens=96)
    lent = serve(requests, described).requests
    assert alone.queue_s[2] > 0.2
    assert lent.queue_s[2] < 0.02
    # the first one's steps now wait for a message a layer
    assert lent.response_s[0] > alone.response_s[0]


def captured(monkeypatch: pytest.MonkeyPatch) -> list:
    states: list = []

    def keep(cluster, plan, state, *others):
        states.append(state)
        return real_outcome(cluster, plan, state, *others)

    monkeypatch.setattr(run, "outcome", keep)
    return states


random_trace = st.lists(
    st.tuples(st.floats(0, 0.5), st.integers(1, 150), st.integers(1, 60)), min_size=1, max_size=25
)


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=random_trace, kv_blocks=st.integers(14, 60), lost=st.booleans())
def test_nothing_is_lost_and_nothing_is_kept(
    policy: str, rows, kv_blocks: int, lost: bool, cluster
) -> None:
    arrivals = np.cumsum([row[0] for row in rows])
    frame = pd.DataFrame(
        {"generated": [r[2] for r in rows], "arrival_s": arrivals, "context": [r[1] for r in rows]}
    )
    described = of_policy(policy, cluster, kv_tokens=16 * kv_blocks)
    if lost:
        described["failures"] = [{"device": "h100/1", "at_s": 0.3, "for_s": 0.4}]
    with pytest.MonkeyPatch.context() as patch:
        states = captured(patch)
        result = serve(frame, described)
    table, state = result.requests, states[0]
    assert table.request.tolist() == list(range(len(rows)))
    assert result.counts["tokens"] == frame.generated.sum()
    assert (table.time_to_first_token_s > 0).all()
    assert (table.response_s >= table.time_to_first_token_s).all()
    assert (table.finish_s >= table.arrival_s).all()
    for name in ("used", "running", "waiting", "context", "load"):
        assert (state.instances[name] == 0).all(), name
    assert not state.borrowed.any()
    assert state.g["in_flight"][0] == 0
    interval = result.timeline.interval_s
    assert (result.timeline.tokens_per_s * interval).sum() == pytest.approx(frame.generated.sum())
    assert (result.timeline.arrivals_per_s * interval).sum() == pytest.approx(len(rows))
    waits = (table.response_s).sum()
    in_flight = ((result.timeline.running + result.timeline.waiting) * interval).sum()
    assert in_flight == pytest.approx(waits, rel=1e-6)  # Little's law, exactly


@pytest.mark.parametrize("policy", POLICIES)
def test_pieces_of_the_trace_do_not_matter(policy: str, cluster, monkeypatch, tmp_path) -> None:
    """Many requests at one time, read in pieces that cut through them; and growing slots."""
    draw = np.random.default_rng(1)
    arrivals = np.sort(draw.integers(0, 20, 1500)) / 2.0
    lengths = draw.integers(1, 100, (1500, 2))
    path = tmp_path / "trace.csv"
    frame = pd.DataFrame(
        {"context": lengths[:, 0], "generated": lengths[:, 1], "arrival_s": arrivals}
    )
    frame.to_csv(path, index=False)
    described = of_policy(policy, cluster, kv_tokens=4000)
    whole = serve(path, described)
    monkeypatch.setattr(request, "CHUNK", 7)
    pieces = serve(path, described)
    assert pieces.to_json() == whole.to_json()
    pd.testing.assert_frame_equal(pieces.requests, whole.requests)
    pd.testing.assert_frame_equal(pieces.timeline, whole.timeline)


def test_all_at_once(cluster, trace) -> None:
    table = serve(trace((0, 10, 1), (900, 10, 1)), cluster(), rate_scale=math.inf).requests
    assert table.arrival_s.tolist() == [0, 0]
    assert table.response_s.tolist() == pytest.approx([0.02, 0.02])


def test_goodput_counts_both_limits(cluster, trace) -> None:
    requests = trace((0, 100, 2), (1, 300, 2), (2, 100, 100), (2, 100, 100))
    limits = {"time_to_first_token_s": 0.25, "time_between_tokens_s": 0.0105}
    result = serve(requests, cluster(limits=limits))
    assert result.goodput_requests_per_s == pytest.approx(1 / result.makespan_s)


def test_percentiles_are_those_of_the_frame(cluster) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "arrival_s": np.cumsum(draw.exponential(0.2, 400)),
            "context": draw.integers(1, 300, 400),
            "generated": draw.integers(2, 40, 400),
        }
    )
    result = serve(frame, cluster())
    first = result.requests.time_to_first_token_s
    for name, share in (("p50", 50), ("p90", 90), ("p99", 99)):
        wanted = np.percentile(first, share)
        assert result.time_to_first_token_s[name] == pytest.approx(wanted, rel=1e-3)
    assert result.time_to_first_token_s["mean"] == pytest.approx(first.mean())
    gaps = result.requests
    weights = gaps.generated - 1
    mean = np.average(gaps.time_between_tokens_s, weights=weights)
    assert result.time_between_tokens_s["mean"] == pytest.approx(mean)


@pytest.mark.slow
def test_uncompiled_twin_gives_the_same() -> None:
    code = (
        "import plait; print(plait.serve({'requests': 60, 'arrivals': {'kind': 'poisson', "
        "'rate_per_s': 40}, 'lengths': {'kind': 'log_normal', 'context': 200, 'generated': 20}}, "
        "{'model': 'smollm2-135m', 'policy': 'continuous_batching', 'devices': "
        "[{'machine': 'a10g'}], 'batching': {'requests': 32}}).to_json())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_DISABLE_JIT": flag},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for flag in ("0", "1")
    ]
    assert told[0] == told[1]
    assert '"finished": 60' in told[0]


def test_the_verb_is_public(cluster, trace) -> None:
    seen: list[tuple[int, int]] = []
    result = plait.serve(
        trace((0, 10, 2)), cluster(), progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (1, 1)
    assert {"arrival_s", "context", "generated"} <= set(result.requests)
    assert {"time_s", "running", "waiting", "kv_used"} <= set(result.timeline)
