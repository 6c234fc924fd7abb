"""Serving systems of the papers beside our versions of their rules, row by row.

The rows, and what a case's name stands for, are in plait.measured_serving.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.measured_serving import METHODS, difference, profile, requests, rows
from plait.sim.serving import serve
from plait.sim.serving.splitwise import play

CASES = [(method, case) for method in METHODS for case in rows(method)]


@pytest.mark.parametrize(("method", "case"), CASES)
def test_every_row(method: str, case: str) -> None:
    ours, wanted = METHODS[method](case), rows(method)[case]
    assert len(wanted) > 0
    assert {name: difference(ours[name], text) for name, text in wanted.items()} == dict.fromkeys(
        wanted, 0
    )


def test_a_wrong_figure_differs() -> None:
    assert difference(1.0 + 1e-10, "1.0") > 0
    assert difference("0 1 80 20", "0 1 80 21") == 1


def test_splitwise_decode_servers_stay_with_one() -> None:
    """A quirk: nothing is added where a request goes, so a second decode server is never chosen."""
    arrivals, server = requests("syn200"), profile("h100-80gb")
    one = play(*arrivals, [server], [server]).figures()
    assert play(*arrivals, [server], [server, server]).figures() == one


# --- the conversation trace on two clusters that cost the same -------------------------------

FUSED = {
    "attention": "fused",
    "memory.buffer_bytes": 50e6,
    "tensor_parallel.link_bytes_per_s": 450e9,
}
PLAIN = {
    "model": "llama-3-70b",
    "formats": "w16a16kv16",
    "policy": "continuous_batching",
    "devices": [{"machine": "h100", "count": 4, "set": FUSED}],
}
OFFLOADED = PLAIN | {
    "policy": "attention_offload",
    "devices": [
        {"machine": "h100", "count": 2, "role": "compute", "set": FUSED},
        {"machine": "h20", "count": 4, "role": "memory"},
    ],
    "network": {"bandwidth_bytes_per_s": 45.7e9, "round_trip_s": 33e-6},
}
TRACE = Path(__file__).parent / "data/trace_azure_conv_2023.csv.gz"


@pytest.mark.slow
def test_offloading_at_equal_cost_on_the_conversation_trace() -> None:
    """The paper's batch is reproduced, its gain in throughput is not with ideal efficiencies.

    Only tokens after the first, all requests at once, as the paper compares: its static formula
    gives a batch 2.30 times as large, real lengths and arrivals 2.18. The paper measures 1.16 to
    1.90 times the tokens a second over all its cases; ideal devices give 0.93, or 1.01 a dollar.
    """
    plain, offloaded = (
        serve(TRACE, {**cluster, "prefill": "remote"}, rate_scale=np.inf)
        for cluster in (PLAIN, OFFLOADED)
    )
    assert plain.counts["finished"] == offloaded.counts["finished"] == 19_366
    assert (plain.usd_per_hour, offloaded.usd_per_hour) == (44.24, 40.64)
    assert offloaded.batch_mean / plain.batch_mean == pytest.approx(2.18, abs=0.01)
    faster = offloaded.throughput_tokens_per_s / plain.throughput_tokens_per_s
    assert faster == pytest.approx(0.93, abs=0.01)
    cheaper = offloaded.throughput_per_dollar / plain.throughput_per_dollar
    assert cheaper == pytest.approx(1.01, abs=0.01)


@pytest.mark.slow
def test_prompts_of_the_conversation_trace_want_four_compute_devices() -> None:
    """At the trace's own pace, prompts included, two H100 beside four H20 fall behind."""
    plain, offloaded = (serve(TRACE, cluster) for cluster in (PLAIN, OFFLOADED))
    for outcome in (plain, offloaded):
        assert outcome.counts["finished"] == 19_366
        assert outcome.throughput_tokens_per_s == pytest.approx(1164, rel=0.003)  # all that comes
    assert plain.time_to_first_token_s["p90"] < 0.5
    assert offloaded.time_to_first_token_s["p90"] > 10
