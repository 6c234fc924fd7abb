"""Serving systems of the papers beside our versions of their rules, row by row.

Splitwise (ISCA 2024): figures of its public simulator. Melange (arXiv 2404.14527): the optimum by
exhaustive search; case m1 is its repository's example. Infinite-LLM (arXiv 2401.02669) and Lamina
(arXiv 2405.01814): cases worked out from the rules of the papers.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.sim.families.offload_times import OffloadedModel, Peak
from plait.sim.serving import allocate, serve
from plait.sim.serving.infinite_llm import Holding, place, rate, shard_bytes
from plait.sim.serving.offload_trace import play as play_offload
from plait.sim.serving.splitwise import Profile, play

ROWS = pd.read_csv(Path(__file__).parent / "data/serving_reference.csv", dtype={"value": str})
PRECISE = {"rel": 1e-9, "abs": 0}


def rows(method: str) -> dict[str, dict[str, str]]:
    """{case: {quantity: value as text}} of one method."""
    cases: dict[str, dict[str, str]] = {}
    for row in ROWS[ROWS.method == method].itertuples():
        cases.setdefault(row.case, {})[row.quantity] = row.value
    return cases


# --- Splitwise -----------------------------------------------------------------------------------


def profile(device: str) -> Profile:
    """The published medians of Llama-2-70B on eight devices, by tokens in the iteration."""
    found = {}
    for case, values in rows("splitwise_profile").items():
        if f"_{device}_" in case:
            found[int(case.rpartition("_x")[2])] = values
    x = sorted(found)
    columns = [np.array([float(found[k][q]) for k in x]) for q in ("prompt_s", "token_s")]
    return Profile(np.array(x, dtype=float), *columns)


H100, A100 = profile("h100-80gb"), profile("a100-80gb")
CLUSTERS = {
    "B_H1": ([H100], []),
    "B_H2": ([H100, H100], []),
    "B_A2": ([A100, A100], []),
    "S_HA": ([H100], [A100]),
    "S_HH": ([H100], [H100]),
}


def requests(trace: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if trace == "tiny":
        return np.array([1.0, 3, 4]), np.array([4096, 2048, 2048]), np.array([32, 8, 16])
    i = np.arange(200)
    return 0.125 * (i + 1), 256 + (377 * i) % 2048, 8 + (53 * i) % 160


@pytest.mark.parametrize(("case", "wanted"), list(rows("splitwise_interp").items()))
def test_splitwise_reads_its_profile(case: str, wanted: dict[str, str]) -> None:
    device, _, x = case.rpartition("_x")
    of = profile(device)
    assert of.prompt(float(x)) == pytest.approx(float(wanted["prompt_s"]), **PRECISE)
    assert of.token(float(x)) == pytest.approx(float(wanted["token_s"]), **PRECISE)


@pytest.mark.parametrize(("case", "wanted"), list(rows("splitwise").items()))
def test_splitwise(case: str, wanted: dict[str, str]) -> None:
    cluster, _, trace = case.rpartition("_")
    result = play(*requests(trace), *CLUSTERS[cluster])
    figures = result.figures()
    for k in range(3):
        figures[f"ttft_req{k}"] = result.first_token_s[k] - result.arrival_s[k]
        figures[f"done_req{k}"] = result.finish_s[k]
    assert {q: figures[q] for q in wanted} == {
        q: pytest.approx(float(v), **PRECISE) for q, v in wanted.items()
    }


def test_splitwise_decode_servers_stay_with_one() -> None:
    """A quirk: nothing is added where a request goes, so a second decode server is never chosen."""
    arrivals = requests("syn200")
    one = play(*arrivals, [H100], [H100]).figures()
    assert play(*arrivals, [H100], [H100, H100]).figures() == one


# --- Melange -------------------------------------------------------------------------------------

TWO = ([1.01, 3.67], [[[2, 1], [5, 2]], [[20, 20], [40, 20]]], [[0.2, 0.1], [0.5, 0.2]])
THREE = (
    [0.7, 1.01, 3.67],
    [[[1.5, 0.6], [3, 0]], [[2, 1], [5, 2]], [[20, 20], [40, 20]]],
    [[0.3, 0.2], [0.4, 0.1]],
)
FOUR = (
    [0.7, 1.01, 3.67, 7.516],
    [[[4, 1.2, 0.3]], [[9, 3, 0.9]], [[30, 14, 5]], [[55, 30, 12]]],
    [[0.6, 0.3, 0.1]],
)
MELANGE = {"m1": (TWO, 30, 1), "m3": (TWO, 8, 1), "m5": (THREE, 12, 1), "m7": (THREE, 3, 2)}
MELANGE |= {"m9": (FOUR, 40, 4)}


@pytest.mark.parametrize(("case", "wanted"), list(rows("melange").items()))
def test_melange(case: str, wanted: dict[str, str]) -> None:
    (prices, throughputs, shares), rate_per_s, slices = MELANGE[case]
    best = allocate(prices, throughputs, shares, rate_per_s, slices)
    assert best.cost == pytest.approx(float(wanted["optimal_cost"]), rel=1e-9)
    optima = [tuple(map(int, text.split())) for text in wanted["optimal_counts"].split("|")]
    assert best.counts in optima
    assert best.share.sum(axis=0) == pytest.approx(1.0)
    for kind, text in enumerate(wanted["single_type_costs"].split()):
        if not np.isfinite(float(text)):
            continue
        alone = allocate(prices[kind : kind + 1], throughputs[kind : kind + 1], shares, rate_per_s)
        assert alone.cost == pytest.approx(float(text), abs=5e-5)


# --- Infinite-LLM --------------------------------------------------------------------------------

PLACED = {
    "i1": [Holding(100, 96, 2, (4,) * 20), Holding(100, 20, 10)],
    "i3": [Holding(64, 60, 3, (2,) * 10), Holding(64, 60, 3, (2,) * 10), Holding(64, 0, 0)],
}


@pytest.mark.parametrize(("case", "wanted"), list(rows("infinite_llm").items()))
def test_infinite_llm_places(case: str, wanted: dict[str, str]) -> None:
    moves, after = place(PLACED[case])
    assert sum(map(rate, PLACED[case])) == pytest.approx(float(wanted["tps_before"]), rel=1e-12)
    assert sum(map(rate, after)) == pytest.approx(float(wanted["tps_after"]), rel=1e-12)
    told = ";".join(f"{m.debtor} {m.creditor} {m.blocks} {m.admitted}" for m in moves)
    assert told == wanted["moves_debtor_creditor_blocks_admitted"]


@pytest.mark.parametrize(("case", "wanted"), list(rows("infinite_llm_traffic").items()))
def test_infinite_llm_sends(case: str, wanted: dict[str, str]) -> None:
    shards, width, heads, queries = map(int, re.findall(r"\d+", case))
    each = shard_bytes(width, heads, value_bytes=2, shards=shards)
    assert queries * each == float(wanted["bytes_per_layer_fp16_scalars_fp32"])
    cache = 10_000 * 2 * 2 * width / 8  # keys and values in FP16, eight query heads share one
    assert cache == float(wanted["kv_bytes_per_layer_of_10000_tokens_G8"])


# --- Lamina --------------------------------------------------------------------------------------

LLAMA = OffloadedModel(68.75e9, hidden=8192, layers=80, group=8)


@pytest.mark.parametrize(("case", "wanted"), list(rows("lamina_trace").items()))
def test_lamina_plays_ragged_batches(case: str, wanted: dict[str, str]) -> None:
    n, a, b, count, stride = map(
        int, re.fullmatch(r"t70_n(\d+)_a(\d+)b(\d+)_r(\d+)_s(\d+)", case).groups()
    )
    i = np.arange(count)
    played = play_offload(
        LLAMA,
        Peak(a * 989e12, a * 3.35e12),
        Peak(b * 148e12, b * 4.0e12),
        context=512 + stride * i % 4096,
        generated=4 + 3 * i % 9,
        batches=n,
        bandwidth_bytes_per_s=a * 45.7e9,
        round_trip_s=33e-6,
    )
    gaps = played.time_between_tokens_s
    figures = {
        "tbt_mean": gaps.mean(),
        "tbt_p90": np.percentile(gaps, 90),
        "tbt_max": gaps.max(),
        "makespan": played.makespan_s,
        "tok_per_s": played.tokens / played.makespan_s,
        "pool_busy_fraction": played.pool_busy_s / played.makespan_s,
    }
    assert figures == {q: pytest.approx(float(v), **PRECISE) for q, v in wanted.items()}


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
