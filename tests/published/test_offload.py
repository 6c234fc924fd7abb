"""Attention offloading (arXiv 2405.01814, Lamina): its closed form, configurations and claims.

data/serving_reference.csv: makespans of rotational staggered pipelining and the imbalance of
divided attention, from an independent implementation of the rules in their modules.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.models.graph import Graph, load_graph
from plait.sim import load_accelerator, simulate
from plait.sim.families import offload_partition as partition
from plait.sim.families.offload import model_of
from plait.sim.families.offload_equal_cost import EqualCost, equal_cost
from plait.sim.families.offload_rotation import cycle, rotate

SERVING = pd.read_csv(Path(__file__).parent / "data/serving_reference.csv")
MODELS = ("llama-33b", "llama-65b", "llama-3-70b")
# DOP, batch, context, MTIME ms, ATIME ms, bandwidth GB/s
WORKED = [
    ((1, 1), 20, 4096, 41.0450, 6.7109, 6.1754),
    ((1, 1), 100, 8192, 41.0458, 67.1089, 13.6338),
    ((1, 1), 300, 4096, 41.7088, 100.6633, 31.0713),
    ((2, 4), 100, 4096, 20.5229, 8.3886, 51.0026),
    ((2, 4), 300, 8192, 20.8544, 50.3316, 62.1425),
]
# mean prompt and mean generated tokens of the paper's traces
TRACES = {
    "Azure-Conv": (1154.7, 211.1),
    "Azure-Code": (2047.8, 27.9),
    "Kimi-Conv": (12035.1, 342.6),
    "Kimi-TA": (8560.0, 182.1),
}
# the paper's pools of equal cost: DOP, and plain H100s
POOLS = {"llama-33b": ((1, 2), 2), "llama-65b": ((2, 4), 4), "llama-3-70b": ((2, 4), 4)}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {name: load_graph(name) for name in MODELS}


@pytest.mark.parametrize(("dop", "batch", "context", "model", "attention", "bandwidth"), WORKED)
def test_worked_values(graphs, dop, batch, context, model, attention, bandwidth) -> None:
    machine = load_accelerator("lamina-h100-h20").with_(
        **{"compute.count": dop[0], "memory.count": dop[1], "slowdown_allowance": 0.2}
    )
    totals = simulate(
        graphs["llama-3-70b"],
        machine,
        batch=batch,
        context=context,
        fidelity="published",
        formats="w16a16kv16",
    ).totals
    assert round(totals["non_attention_seconds"] * 1e3, 4) == model
    assert round(totals["attention_seconds"] * 1e3, 4) == attention
    assert round(totals["required_bandwidth_bytes_per_s"] / 1e9, 4) == bandwidth
    assert totals["network_bytes"] == (2 + 2 / 8) * 2 * 8192 * batch * 80
    network = 80 * (33e-6 + totals["network_bytes"] / 80 / 45.7e9)
    assert totals["network_seconds"] == pytest.approx(network, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "expected"), list(zip(MODELS, (1_597_440, 2_621_440, 327_680), strict=True))
)
def test_kv_bytes_a_token(graphs, model: str, expected: int) -> None:
    for fidelity in ("published", "closed_form"):
        report = simulate(graphs[model], "lamina-h100-h20", fidelity=fidelity)
        assert report.totals["kv_bytes_per_token"] == expected


def number(text: str, after: str, before: str) -> Fraction:
    return Fraction(text.partition(after)[2].partition(before)[0])


def rows(method: str) -> dict[str, dict[str, float]]:
    chosen = SERVING[SERVING["method"] == method]
    groups = chosen.groupby("case", sort=False)
    return {
        case: dict(zip(g["quantity"], g["value"].astype(float), strict=True)) for case, g in groups
    }


@pytest.mark.parametrize(("case", "wanted"), list(rows("lamina_rotation").items()))
def test_rotation(case: str, wanted: dict[str, float]) -> None:
    n = int(number(case, "n", "tm"))
    times = number(case, "tm", "ta"), number(case, "ta", "net"), number(case, "net", "L")
    played = rotate(n, *times, layers=8, tokens=6)
    assert float(cycle(n, *times)) == pytest.approx(wanted["cycle_formula"], rel=1e-12)
    assert played.time_between_tokens == 8 * cycle(n, *times)
    assert float(played.time_between_tokens) == pytest.approx(wanted["tbt_formula"], rel=1e-12)
    assert float(played.makespan) == pytest.approx(wanted["makespan_event"], rel=1e-12)


LENGTHS = {
    "p1": [512 + 977 * i % 4096 for i in range(16)],
    "p2": [128 * (1 + i * i % 37) for i in range(24)],
    "p3": [32768] + [1024] * 15,
    "p4": [2 ** (6 + i % 8) for i in range(20)],
}


@pytest.mark.parametrize(("case", "wanted"), list(rows("lamina_partition").items()))
def test_partition(case: str, wanted: dict[str, float]) -> None:
    lengths, devices = LENGTHS[case[:2]], int(case[4:])
    got = {
        "request_round_robin_imbalance": partition.round_robin(lengths, devices),
        "request_lpt_imbalance": partition.longest_first(lengths, devices),
        "token_level_imbalance": partition.token_level(lengths, devices),
        "head_level_imbalance_kv8": partition.head_level(lengths, devices, 8),
    }
    for name, value in wanted.items():
        assert partition.imbalance(got[name]) == pytest.approx(value, rel=1e-12), name


# --- the table of equal cost -----------------------------------------------------------------


IDEAL = {"tensor_parallel": None}
FREE_LINK = {"tensor_parallel.link_bytes_per_s": 1e18}


def compare(graphs, changes: dict, plain: dict, network: bool) -> dict[tuple, EqualCost]:
    found = {}
    for model, (dop, devices) in POOLS.items():
        machine = load_accelerator("lamina-h100-h20").with_(
            **{"compute.count": dop[0], "memory.count": dop[1]},
            **{"pipelining.batches_in_flight": 2, **changes},
        )
        reference = load_accelerator("h100").with_(
            **{"tensor_parallel.devices": devices, **FREE_LINK, **plain}
        )
        sizes = model_of(graphs[model].bind("decode", formats="w16a16kv16"), machine)
        for trace, (prompt, generated) in TRACES.items():
            found[model, trace] = equal_cost(
                sizes, machine, reference, prompt=prompt, generated=generated, network=network
            )
    return found


LINK = {"tensor_parallel.link_bytes_per_s": 450e9, "tensor_parallel.link_latency_s": 3e-6}
OWN = {"network.links": "per_compute_device"}
SHARES = {"efficiency.compute": 0.7, "efficiency.memory": 0.8}


def test_prices(graphs) -> None:
    table = compare(graphs, IDEAL, {}, network=False)
    pairs = {
        model: (row.usd_per_hour, row.reference_usd_per_hour) for (model, _), row in table.items()
    }
    assert pairs["llama-33b"] == pytest.approx((20.32, 22.12))
    assert pairs["llama-65b"] == pairs["llama-3-70b"] == pytest.approx((40.64, 44.24))


def test_batches_are_the_papers(graphs) -> None:
    """Published: a mean batch 2.39 times larger, and about 800 for 70B on Azure-Conv."""
    table = compare(graphs, IDEAL, {}, network=False)
    ratio = np.mean([row.batch_ratio for row in table.values()])
    assert table["llama-3-70b", "Azure-Conv"].batch == 836
    assert round(ratio, 2) == 2.28
    assert ratio == pytest.approx(2.39, rel=0.05)
    assert pytest.approx(800, rel=0.05) == 836


@pytest.mark.parametrize(
    ("changes", "plain", "network", "least", "most"),
    [
        (IDEAL, {}, False, 0.943, 1.241),
        (IDEAL, {}, True, 0.789, 1.241),
        (IDEAL | OWN, {}, True, 0.943, 1.241),
        (OWN | LINK, LINK, True, 1.059, 1.358),
        (OWN | LINK | {"host_overhead_s": 5e-3}, LINK, True, 1.071, 1.337),
        (
            OWN | LINK | SHARES | {"host_overhead_s": 5e-3, "efficiency.attention_memory": 0.8},
            LINK | SHARES | {"efficiency.attention_memory": 0.6},
            True,
            1.101,
            1.486,
        ),
    ],
    ids=["ideal", "network", "own-links", "all-reduce", "host", "efficiencies"],
)
def test_throughput_by_switch(graphs, changes, plain, network, least, most) -> None:
    """Published: +16.1 % to +90.1 %. The lower end is reached, the upper is not by any switch."""
    ratios = [row.throughput_ratio for row in compare(graphs, changes, plain, network).values()]
    assert (round(min(ratios), 3), round(max(ratios), 3)) == (least, most)
    assert max(ratios) < 1.901


@pytest.mark.parametrize(("model", "claimed"), [("llama-65b", 0.132), ("llama-3-70b", 0.035)])
def test_overlap_saves_what_is_claimed(graphs, model: str, claimed: float) -> None:
    """Published: up to 13.2 % (65B) and 3.5 % (70B) at context 4096; ours 11.4 and 3.6."""
    saved = []
    for batch in (20, 40, 80, 160, 320):
        machine = load_accelerator("lamina-h100-h20").with_(
            **{"compute.count": 2, "memory.count": 4, "overlap": True}
        )
        plain = machine.with_(overlap=False)
        seconds = [
            simulate(graphs[model], m, batch=batch, context=4096).seconds for m in (machine, plain)
        ]
        saved.append(1 - seconds[0] / seconds[1])
    assert max(saved) == pytest.approx(claimed, rel=0.15)
