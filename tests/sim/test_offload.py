"""The offload family: rungs add up, pools are costed apart, every wrong machine is one line."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.models.graph import Graph
from plait.sim import load_accelerator, simulate
from plait.sim.families import offload_partition as partition
from plait.sim.spec import parse_accelerator

FIDELITIES = ("published", "closed_form", "timeline")


@pytest.fixture(scope="module")
def lamina():
    return load_accelerator("lamina-h100-h20").with_(**{"memory.count": 2})


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_rungs_add_up(decoder: Graph, lamina, fidelity: str, overlap: bool, batches: int) -> None:
    machine = lamina.with_(**{"pipelining.batches_in_flight": batches, "overlap": overlap})
    report = simulate(decoder, machine, batch=16, context=500, fidelity=fidelity)
    totals = report.totals
    assert report.seconds == sum(totals["rungs"].values())
    np.testing.assert_allclose(
        report.table[list(report.rungs)].sum(axis="columns"), report.table["seconds"], rtol=1e-12
    )
    parts = ("non_attention_seconds", "attention_seconds", "network_seconds")
    latency = sum(totals[name] for name in parts) - totals.get("hidden_seconds", 0.0)
    assert report.seconds >= latency * (1 - 1e-12)
    if batches == 1:
        assert report.seconds == pytest.approx(latency, rel=1e-12)
    assert totals["tokens_per_s"] == pytest.approx(batches * 16 / report.seconds)


@pytest.mark.parametrize("batches", range(1, 9))
@pytest.mark.parametrize("overlap", [False, True])
def test_timeline_agrees_with_the_closed_form(
    decoder: Graph, lamina, batches: int, overlap: bool
) -> None:
    machine = lamina.with_(**{"pipelining.batches_in_flight": batches, "overlap": overlap})
    for context in (10, 100_000, 10_000_000):
        formula, events = (
            simulate(decoder, machine, batch=16, context=context, fidelity=name).seconds
            for name in ("closed_form", "timeline")
        )
        assert events == formula


def test_overlap_hides_the_shorter_chain(decoder: Graph, lamina) -> None:
    for context in (2, 10, 1000, 100_000):
        plain = simulate(decoder, lamina, batch=16, context=context)
        faster = simulate(decoder, lamina.with_(overlap=True), batch=16, context=context)
        hidden = faster.totals["hidden_seconds"]
        assert 0 < hidden < plain.seconds / 2
        assert faster.seconds == pytest.approx(plain.seconds - hidden, rel=1e-12)


def test_every_efficiency_slows_its_part(decoder: Graph, lamina) -> None:
    def totals(**changes: float) -> dict:
        return simulate(decoder, lamina.with_(**changes), batch=16, context=5000).totals

    ideal = totals()
    attention = totals(**{"efficiency.attention_memory": 0.8})
    assert attention["attention_seconds"] == pytest.approx(ideal["attention_seconds"] / 0.8)
    assert attention["non_attention_seconds"] == ideal["non_attention_seconds"]
    network = totals(**{"efficiency.network": 0.5, "network.round_trip_s": 0.0})
    doubled = totals(**{"network.bandwidth_bytes_per_s": 2 * 45.7e9, "network.round_trip_s": 0.0})
    assert network["network_seconds"] == pytest.approx(4 * doubled["network_seconds"])
    host = totals(host_overhead_s=1e-3)
    assert host["non_attention_seconds"] == pytest.approx(ideal["non_attention_seconds"] + 1e-3)
    assert totals(**{"efficiency.memory": 0.5})["attention_seconds"] == ideal["attention_seconds"]


def test_all_reduces_cost_what_the_link_says(decoder: Graph, lamina) -> None:
    two = lamina.with_(**{"compute.count": 2})
    free = simulate(decoder, two.with_(tensor_parallel=None), batch=16, context=100)
    linked = simulate(decoder, two, batch=16, context=100)
    hidden_bytes = 16 * 96 * 2
    expected = 3 * 2 * 2 * (hidden_bytes / 2 / 450e9)  # layers, two each, 2 (n - 1) steps
    assert linked.totals["rungs"]["all_reduce"] == pytest.approx(expected)
    assert "all_reduce" not in free.totals["rungs"]


def test_token_level_needs_no_divisor_and_moves_more(decoder: Graph, lamina) -> None:
    """d + 2 heads values come back from every shard, for the d of one device."""
    three = lamina.with_(**{"memory.count": 3, "partition": "token"})
    head = simulate(decoder, lamina, batch=16, context=999).totals
    token = simulate(decoder, three, batch=16, context=999).totals
    more = 16 * 3 * 2 * (3 * 96 + 3 * partition.combine_values(96, 6) - 2 * 96)
    assert token["network_bytes"] == head["network_bytes"] + more
    assert token["attention_seconds"] == pytest.approx(head["attention_seconds"] * 2 / 3, rel=1e-3)


def test_request_level_waits_for_the_fullest_device(decoder: Graph, lamina) -> None:
    request = lamina.with_(partition="request")
    odd, even = (
        simulate(decoder, machine, batch=3, context=4000).totals["attention_seconds"]
        for machine in (request, lamina)
    )
    assert odd == pytest.approx(even * 4 / 3)


def test_loads() -> None:
    lengths = [100, 7, 50, 3, 3]
    assert partition.round_robin(lengths, 2).sum() == sum(lengths)
    assert partition.longest_first(lengths, 2).tolist() == [100, 63]
    assert partition.token_level(lengths, 4).sum() == sum(lengths)
    assert partition.imbalance(partition.head_level(lengths, 4, 8)) == 1.0


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"memory.count": 3}, {}, "memory.count: 2 KV heads cannot be divided equally"),
        ({}, {"phase": "prefill"}, "attention is offloaded in decode only"),
        ({"memory.machine": "h21"}, {}, "unknown machine 'h21': did you mean h20"),
        ({"memory.machine": "bitmod-lossy"}, {}, "is of family bit_serial, expected family"),
        ({"compute.count": 0}, {}, "compute.count: out of range, got 0, expected at least 1"),
        ({"pipelining.batches_in_flight": 0}, {}, "out of range, got 0, expected at least 1"),
        ({"network.bandwidth_bytes_per_s": -1.0}, {}, "expected more than 0"),
        ({"network.bandwith_bytes_per_s": 1.0}, {}, "did you mean bandwidth_bytes_per_s"),
        ({"slowdown_allowance": 0.0}, {}, "slowdown_allowance: out of range"),
        ({"partition": "heads"}, {}, "expected 'head', 'request' or 'token'"),
        ({"published_weight_bytes.opt-1": -1.0}, {}, "published_weight_bytes of opt-1 is out of"),
    ],
)
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_mistakes_are_one_line(decoder, lamina, changes, options, said, fidelity) -> None:
    with pytest.raises(SpecError) as error:
        simulate(decoder, lamina.with_(**changes), batch=4, fidelity=fidelity, **options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_device_may_be_described_in_place(decoder: Graph) -> None:
    machine = parse_accelerator(
        """\
family: offload
name: mine
compute: {machine: h100}
memory:
  machine:
    family: roofline
    name: stacked
    compute: {fp16_operations_per_s: 20e12}
    memory: {bandwidth_bytes_per_s: 8e12}
network: {bandwidth_bytes_per_s: 45.7e9}
"""
    )
    report = simulate(decoder, machine, batch=4, context=1000)
    assert "price_usd_per_hour" not in report.totals  # stacked has none
    assert report.energy_joules is None
    assert "memory_pool_used" not in report.totals
