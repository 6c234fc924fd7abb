"""Lost devices: what is computed again, what users see of it, and what a cluster is told."""

from __future__ import annotations

import pandas as pd
import pytest

from plait.errors import PlaitError
from plait.sim.serving import serve

OFFLOAD = {
    "model": "llama-2-7b",
    "formats": "w16a16kv16",
    "policy": "attention_offload",
    "devices": [
        {"machine": "h100", "count": 2, "role": "compute"},
        {"machine": "h20", "count": 2, "role": "memory"},
    ],
    "network": {"bandwidth_bytes_per_s": 45.7e9, "round_trip_s": 33e-6},
}
STEADY = pd.DataFrame({"arrival_s": [0.0] * 8, "context": [100] * 8, "generated": [200] * 8})


def test_an_instance_is_rebuilt_by_prefill(cluster, trace) -> None:
    """Lost at 0.125 s, in the third step: prompt and two tokens are prefilled when it is back."""
    described = cluster(failures=[{"device": "h100/0", "at_s": 0.125, "for_s": 1.0}])
    result = serve(trace((0, 100, 5)), described)
    row = result.requests.iloc[0]
    assert result.failures.requests_hit.tolist() == [1]
    assert row.preemptions == 1
    # tokens at 0.100, 0.110, 0.120; then 103 tokens of prefill give the fourth
    assert row.longest_gap_s == pytest.approx(1.125 + 0.103 - 0.120)
    assert row.response_s == pytest.approx(1.125 + 0.103 + 0.010)
    assert result.instances.down_s.tolist() == pytest.approx([1.0])


def test_others_take_over(cluster, trace) -> None:
    described = cluster(instances=2, failures=[{"device": "h100/1", "at_s": 0.125}])
    table = serve(trace((0, 100, 50), (0, 100, 50)), described).requests
    assert table.instance.tolist() == ["h100 x 1 #0"] * 2
    assert table.preemptions.tolist() == [0, 1]


def test_what_finished_before_a_loss_for_good_is_kept(cluster, trace) -> None:
    described = cluster(failures=[{"device": "h100/0", "at_s": 0.5}])
    result = serve(trace((0, 10, 2), (0.4, 300, 2)), described)
    assert result.requests.request.tolist() == [0]
    assert result.counts["unfinished"] == 1
    assert result.to_dict()["counts"]["finished"] == 1


def test_a_lost_compute_device_loses_no_cache() -> None:
    """One H100 is enough for the weights: slower, nothing computed again."""
    whole = serve(STEADY, OFFLOAD)
    lost = serve(
        STEADY, OFFLOAD | {"failures": [{"device": "h100/0", "at_s": 0.3, "for_s": 1.0}]}
    )  # fmt: skip
    assert lost.preemptions == 0
    assert lost.failures.requests_hit.tolist() == [0]
    assert lost.counts["prompt_tokens"] == whole.counts["prompt_tokens"]
    assert lost.makespan_s > whole.makespan_s


@pytest.mark.parametrize(("partition", "hit"), [("head", 8), ("request", 4), ("token", 8)])
def test_a_lost_memory_device(partition: str, hit: int) -> None:
    """By heads or tokens every request loses a part of its KV, by requests every second one all."""
    failures = [{"device": "h20/1", "at_s": 0.3, "for_s": 0.5}]
    result = serve(STEADY, OFFLOAD | {"partition": partition, "failures": failures})
    assert result.failures.requests_hit.tolist() == [hit]
    assert result.counts["finished"] == 8
    assert result.counts["prompt_tokens"] > 800 + hit * 100


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ({"device": "h100/1", "at_s": 1}, "failures[0].device: no such device, got 'h100/1'"),
        ({"device": "h100/0", "at_s": -1}, "failures[0].at_s: out of range, got -1"),
        ({"device": "h100/0"}, "failures[0].at_s: missing"),
    ],
)
def test_a_failure_that_cannot_be(failure, told: str, cluster, trace) -> None:
    with pytest.raises(PlaitError) as caught:
        serve(trace((0, 10, 2)), cluster(failures=[failure]))
    assert told in str(caught.value)
