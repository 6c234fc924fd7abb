"""Roofline machines: every quirk mended in closed_form, every parameter felt, ladders add up."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.sim.families import roofline
from plait.sim.families.base import cost
from plait.sim.spec import load_accelerator

A100 = load_accelerator("a100-40g")


def row(graph: Graph, phase: str, op: str, machine=A100, fidelity="closed_form", **sizes):
    workload = graph.bind(phase, **{"batch": 2, "context": 32, **sizes})
    ladder = cost(workload, machine, fidelity)
    i = list(workload.columns["op"]).index(op)
    return {name: values[i] for name, values in ladder.columns.items()} | {"time": ladder.time[i]}


@pytest.mark.parametrize("fidelity", ["published", "closed_form"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_rungs_add_up(decoder: Graph, phase: str, fidelity: str) -> None:
    machine = A100.with_(**{"kernel_launch_s": 1e-6, "tensor_parallel.devices": 4})
    ladder = cost(decoder.bind(phase, 2, 32), machine, fidelity)
    assert (ladder.time == sum(ladder.rungs.values())).all()
    assert all((values >= 0).all() for values in ladder.rungs.values())


def test_quirks_are_mended(decoder: Graph) -> None:
    head = row(decoder, "decode", "lm_head")
    assert head["operations"] == 2 * 2 * 96 * 500
    published = row(decoder, "decode", "lm_head", fidelity="published")
    assert published["operations"] == 2 * 96 * 500
    act = row(decoder, "decode", "layers.*.act")
    assert act["operations"] == 3 * 2 * 2 * 200
    assert row(decoder, "decode", "layers.*.act", fidelity="published")["operations"] == 3 * 384
    full = row(decoder, "prefill", "layers.*.attention", fidelity="published")["operations"]
    causal = row(decoder, "prefill", "layers.*.attention")["operations"]
    assert causal / full == (32 * 33 / 2) / 32**2
    for op in ("embed", "layers.*.q_rope", "norm", "layers.*.mul"):
        assert row(decoder, "prefill", op)["activation_bytes"] > 0
        assert row(decoder, "prefill", op, fidelity="published")["time"] == 0


def test_keys_and_values_are_written(decoder: Graph) -> None:
    assert row(decoder, "decode", "layers.*.k_proj")["kv_bytes"] == 3 * 2 * 32 * 2


def test_fused_attention_moves_no_scores(decoder: Graph) -> None:
    fused = A100.with_(attention="fused")
    plain = row(decoder, "prefill", "layers.*.attention", context=64)
    tiled = row(decoder, "prefill", "layers.*.attention", fused, context=64)
    assert tiled["operations"] == plain["operations"]
    assert tiled["activation_bytes"] == 3 * 2 * (2 * 64 * 96 * 2)  # Q in, result out
    # 64 queries x 3 heads of a KV head, in blocks of 16: K and V are streamed 12 times.
    assert tiled["kv_bytes"] == 12 * plain["kv_bytes"]
    with pytest.raises(SpecError, match=r"h20: memory\.buffer_bytes: fused attention needs"):
        row(decoder, "decode", "lm_head", load_accelerator("h20").with_(attention="fused"))


def test_on_chip_activations_leave_weights_and_cache(decoder: Graph) -> None:
    ladder = cost(decoder.bind("decode", 2, 32), A100.with_(activations="on_chip"))
    assert ladder.columns["activation_bytes"].sum() == 0
    assert ladder.columns["weight_bytes"].sum() > 0


def test_the_8_bit_peak_needs_8_bit_operands(decoder: Graph) -> None:
    fast_memory = A100.with_(**{"memory.bandwidth_bytes_per_s": 1e17})
    times = [
        row(decoder, "prefill", "layers.*.q_proj", fast_memory, formats=formats)["time"]
        for formats in ("w16a16kv16", "w8a16kv8", "w8a8kv8")
    ]
    assert times[0] == times[1] == 2 * times[2]
    named = {"weight": "int8", "activation": "int8", "kv": "int8"}
    workload = decoder.bind("prefill", 2, 4096, named)
    assert [roof[0] for roof in cost(workload, A100).roofs] == ["a100-40g int8"]


@pytest.mark.parametrize(
    ("key", "value", "grows"),
    [
        ("efficiency.compute", 0.01, True),
        ("efficiency.memory", 0.5, True),
        ("efficiency.attention_memory", 0.5, True),
        ("kernel_launch_s", 1e-5, True),
        ("memory.bandwidth_bytes_per_s", 3e12, False),
        ("compute.fp16_operations_per_s", 1e12, True),
    ],
)
def test_every_parameter_is_felt(decoder: Graph, key: str, value: float, grows: bool) -> None:
    workload = decoder.bind("prefill", 8, 512)
    changed = A100.with_(**{key: value})
    before, after = cost(workload, A100).time.sum(), cost(workload, changed).time.sum()
    assert (after > before) if grows else (after < before)
    published = [cost(workload, machine, "published").time.sum() for machine in (A100, changed)]
    is_ideal = key.startswith(("efficiency", "kernel"))  # published knows the ideal roofline only
    assert (published[0] == published[1]) == is_ideal


def test_tensor_parallelism(decoder: Graph) -> None:
    workload = decoder.bind("decode", 2, 32)
    two = A100.with_(**{"tensor_parallel.devices": 2, "tensor_parallel.link_latency_s": 1e-6})
    one_ladder, two_ladder = cost(workload, A100), cost(workload, two)
    ops = list(workload.columns["op"])
    reduced = {op for op, s in zip(ops, two_ladder.rungs["all_reduce"], strict=True) if s > 0}
    assert reduced == {"layers.*.o_proj", "layers.*.down_proj"}
    # A ring of two: two steps with half of 2 x 96 FP16 values each.
    seconds = 3 * 2 * (2 * 96 * 2 / 2 / 300e9 + 1e-6)
    assert two_ladder.rungs["all_reduce"][ops.index("layers.*.o_proj")] == pytest.approx(seconds)
    q = ops.index("layers.*.q_proj")
    assert two_ladder.time[q] == pytest.approx(one_ladder.time[q] / 2)
    assert "all_reduce" not in one_ladder.rungs


def test_a_mixture_moves_the_experts_it_touches(mixture: Graph) -> None:
    expert = 96 * 200 * 2 * 3
    few, many = (
        row(mixture, "decode", "layers.*.experts.up", batch=batch)["weight_bytes"]
        for batch in (1, 4000)
    )
    assert few == pytest.approx(2 * expert)
    assert many == pytest.approx(8 * expert)
    three = row(mixture, "decode", "layers.*.experts.up", batch=3)
    assert three["weight_bytes"] == pytest.approx(8 * (1 - 0.75**3) * expert)
    assert three["operations"] == pytest.approx(3 * 2 * 3 * 2 * 96 * 200)


def test_many_machines_at_once(decoder: Graph) -> None:
    workload = decoder.bind("decode", 2, 32)
    parts = roofline.closed_form_parts(workload, A100)
    bandwidths = np.array([1e12, 2e12, 4e12])
    design = roofline.Design.of(A100, **{"memory.bandwidth_bytes_per_s": bandwidths})
    together = roofline.totals(parts, design)["seconds"]
    alone = [
        cost(workload, A100.with_(**{"memory.bandwidth_bytes_per_s": float(b)})).time.sum()
        for b in bandwidths
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
