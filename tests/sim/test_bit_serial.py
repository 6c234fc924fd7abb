"""Bit-serial machines: ladders add up, arrays equal single designs, more hardware never hurts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.sim.families import bit_serial
from plait.sim.families.base import cost
from plait.sim.spec import load_accelerator

FIDELITIES = ("published", "closed_form")
MACHINES = ("fp16-baseline", "ant", "olive", "bitmod-lossless", "bitmod-lossy", "bitmod-small")


def step(decoder: Graph, machine, phase="decode", batch=2, context=40):
    preset = machine.formats.resolve(decoder.name, phase)
    return decoder.bind(phase, batch, context, None, preset)


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("name", MACHINES)
def test_one_machine_equals_the_array_form(
    decoder: Graph, name: str, phase: str, fidelity: str
) -> None:
    machine = load_accelerator(name)
    workload = step(decoder, machine, phase)
    ladder = cost(workload, machine, fidelity)
    matmuls = bit_serial.matmuls_of(workload, fidelity)
    design = bit_serial.Design.of(machine, phase)
    assert ladder.time.sum() == bit_serial.cycles(matmuls, design, fidelity)[0]
    totals = bit_serial.totals(matmuls, design, fidelity)
    pj = sum(values.sum() for key, values in ladder.columns.items() if key.endswith("_pj"))
    assert totals["energy_joules"][0] == pytest.approx(pj * 1e-12, rel=1e-12)
    moved = sum(ladder.columns[f"{use}_bytes"].sum() for use in ("weight", "activation", "kv"))
    assert totals["bytes"][0] == pytest.approx(moved, abs=len(workload))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_rungs_are_whole_and_add_up(decoder: Graph, fidelity: str) -> None:
    machine = load_accelerator("bitmod-lossy").with_(**{"vector.lanes": 8})
    ladder = cost(step(decoder, machine, "prefill"), machine, fidelity)
    for values in ladder.rungs.values():
        assert np.issubdtype(values.dtype, np.integer)
        assert (values >= 0).all()
    assert (sum(ladder.rungs.values()) == ladder.time).all()
    assert (ladder.time >= np.maximum(0, ladder.columns["compute_cycles"])).all()


def test_published_takes_the_longer_of_compute_and_memory(decoder: Graph) -> None:
    machine = load_accelerator("ant")
    ladder = cost(step(decoder, machine), machine, "published")
    compute, memory = ladder.columns["compute_cycles"], ladder.columns["dram_cycles"]
    one_product = ladder.columns["kv_bytes"] == 0  # attention is the sum of two such maxima
    assert (ladder.time == np.maximum(compute, memory))[one_product].all()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_designs_at_once_equal_designs_alone(decoder: Graph, data: st.DataObject) -> None:
    machine = load_accelerator("bitmod-lossy")
    fidelity = data.draw(st.sampled_from(FIDELITIES))
    matmuls = bit_serial.matmuls_of(step(decoder, machine), fidelity)
    side = st.integers(1, 200)
    varied = {
        "array.decode.rows": data.draw(st.lists(side, min_size=3, max_size=3)),
        "array.decode.columns": data.draw(st.lists(side, min_size=3, max_size=3)),
        "dram.port_bits_per_cycle": data.draw(
            st.lists(st.sampled_from([8, 64, 256, 1000]), min_size=3, max_size=3)
        ),
        "buffers.weight_bytes": data.draw(
            st.lists(st.integers(64, 1 << 20), min_size=3, max_size=3)
        ),
    }
    together = bit_serial.totals(
        matmuls, bit_serial.Design.of(machine, "decode", **varied), fidelity
    )
    for i in range(3):
        alone = machine.with_(**{key: values[i] for key, values in varied.items()})
        single = bit_serial.totals(matmuls, bit_serial.Design.of(alone, "decode"), fidelity)
        for name, values in together.items():
            assert values[i] == single[name][0], name


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("dram.port_bits_per_cycle", [8, 16, 64, 256, 1024, 8192]),
        # Not beyond 16: our machine moves whole tiles, and this toy would not fill larger ones.
        ("array.decode.rows", [1, 2, 4, 8, 16]),
        ("array.decode.columns", [1, 2, 4, 8]),
    ],
)
def test_more_of_it_never_costs_cycles(
    decoder: Graph, key: str, values: list[int], fidelity: str
) -> None:
    machine = load_accelerator("bitmod-lossy")
    matmuls = bit_serial.matmuls_of(step(decoder, machine, batch=8), fidelity)
    design = bit_serial.Design.of(machine, "decode", **{key: values})
    assert (np.diff(bit_serial.cycles(matmuls, design, fidelity)) <= 0).all()


def test_fewer_bits_never_cost_more(decoder: Graph) -> None:
    machine = load_accelerator("bitmod-lossy")
    cycles = [
        cost(decoder.bind("decode", 1, 64, f"w{bits}a16kv8"), machine, fidelity).time.sum()
        for fidelity in FIDELITIES
        for bits in (8, 6, 4, 3, 2)
    ]
    assert (np.diff(cycles[:5]) <= 0).all()
    assert (np.diff(cycles[5:]) <= 0).all()


def test_a_named_format_brings_its_terms(decoder: Graph) -> None:
    machine = load_accelerator("bitmod-lossy")
    workload = decoder.bind("decode", 1, 64, {"weight": "int8", "kv": "int8"})
    matmuls = bit_serial.matmuls_of(workload)
    assert set(matmuls.terms) == {4}
    workload = decoder.bind("decode", 1, 64, {"weight": "bitmod3", "kv": "int4"})
    assert set(bit_serial.matmuls_of(workload).terms) == {2}
    peak = cost(workload, machine).roofs[0][1]
    assert peak == 2 * 64 * 16 * 4 * 1e9 / 2


def test_the_vector_unit_is_a_stated_parameter(decoder: Graph) -> None:
    machine = load_accelerator("bitmod-lossy")
    workload = step(decoder, machine)
    without = cost(workload, machine)
    assert "vector" not in without.rungs
    with_unit = cost(workload, machine.with_(**{"vector.lanes": 4}))
    norm = list(workload.columns["op"]).index("layers.*.norm1")
    assert with_unit.time[norm] == 3 * 2 * (2 * 96 // 4)  # layers, passes, elements / lanes
    assert with_unit.time.sum() - without.time.sum() == with_unit.rungs["vector"].sum()


def test_a_mixture_reads_the_experts_it_touches(mixture: Graph) -> None:
    machine = load_accelerator("fp16-baseline")
    for batch, touched in ((1, 2), (1000, 8)):
        ladder = cost(mixture.bind("decode", batch, 8), machine, "published")
        once = 3 * touched * 96 * 200 * 2
        assert ladder.columns["weight_bytes"][0] % once == 0


def test_what_cannot_be_varied_is_named() -> None:
    with pytest.raises(SpecError, match=r"name: cannot be varied.*array\.decode\.rows"):
        bit_serial.Design.of(load_accelerator("ant"), "decode", name=["a"])
    with pytest.raises(SpecError, match="did you mean published"):
        cost(None, load_accelerator("ant"), "publishd")


@pytest.mark.parametrize("machine", ["bitmod-small", "systolic-128"])
@pytest.mark.parametrize("batch", [1 << 20, 1 << 36])
def test_a_step_beyond_exact_integers_is_refused(decoder: Graph, machine: str, batch: int) -> None:
    with pytest.raises(SpecError, match="too large to count"):
        cost(decoder.bind("prefill", batch, 1 << 30), load_accelerator(machine))
