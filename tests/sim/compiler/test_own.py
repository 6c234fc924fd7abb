"""Our compiler: any graph becomes programs that run, fit the buffers and lose nothing."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.models.graph import Graph
from plait.sim import simulate
from plait.sim.compiler import (
    FIELD_BITS,
    Instruction,
    Program,
    Queue,
    check,
    closed,
    lower,
    plans,
    split_k,
)
from plait.sim.compiler.plan import Nest, UnitPlan
from plait.sim.families.sparse_dsp_own import run_plan
from plait.sim.spec import load_accelerator
from plait.sim.spec.sparse_dsp import SparseDsp

MACHINES = ("flightllm-small", "flightllm-u280", "flightllm-vhk158")
STEPS = [("decode", 1, 70), ("decode", 3, 33), ("prefill", 1, 40), ("prefill", 2, 300)]


def machine_of(name: str) -> SparseDsp:
    machine = load_accelerator(name)
    assert isinstance(machine, SparseDsp)
    return machine


def planned(graph: Graph, machine: SparseDsp, phase: str, batch: int, n: int) -> list[UnitPlan]:
    formats = machine.formats.resolve(graph.name, phase)
    return plans(graph.bind(phase, batch, n, None, formats), machine)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("phase", "batch", "context"), STEPS)
def test_programs_fit_the_machine(
    decoder: Graph, name: str, phase: str, batch: int, context: int
) -> None:
    machine = machine_of(name)
    for plan in planned(decoder, machine, phase, batch, context):
        program = check(closed(lower(plan, machine)), machine)
        assert run_plan(plan, machine).total > 0
        assert program["queue"][-1] == Queue.SYS


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("phase", "batch", "context"), STEPS)
def test_products_and_bytes_are_all_there(
    decoder: Graph, name: str, phase: str, batch: int, context: int
) -> None:
    """K blocks of a linear's products, and the bytes of its weights, against the sizes."""
    machine = machine_of(name)
    formats = machine.formats.resolve(decoder.name, phase)
    workload = decoder.bind(phase, batch, context, None, formats)
    c = workload.columns
    for plan in plans(workload, machine):
        if c["kind"][plan.row] != "linear":
            continue
        program = lower(plan, machine)
        is_mm = (program["queue"] == Queue.MM).any()
        outputs = 16 if is_mm else machine.core.mv_outputs
        rows = machine.core.mm_rows if is_mm else 1
        share = -(-int(c["cout"][plan.row]) // (16 * machine.cores.count)) * 16
        k_blocks = -(-int(c["cin"][plan.row]) // 16)
        products = np.isin(program["queue"], (Queue.MM, Queue.MV))
        wanted = -(-share // outputs) * k_blocks * -(-int(c["tokens"][plan.row]) // rows)
        assert int(program["k_blocks"][products].sum()) == wanted, plan.name
        if not is_mm:
            loads = (program["queue"] == Queue.LD) & (program["mode"] == 4)
            density = machine.density_of(plan.name)
            stored = share * k_blocks * 16 * density * c["weight_bits"][plan.row] / 8
            assert program["work"][loads].sum() == pytest.approx(stored)


def test_fused_operations_belong_to_their_linears(decoder: Graph) -> None:
    names = [plan.name for plan in planned(decoder, machine_of("flightllm-u280"), "decode", 1, 64)]
    assert names == [
        "embed", "layers.*.norm1", "layers.*.q_proj", "layers.*.k_proj", "layers.*.v_proj",
        "layers.*.k_rope",  # says not that it rotates keys, so it stays alone
        "layers.*.attention scores", "layers.*.attention values", "layers.*.o_proj",
        "layers.*.norm2", "layers.*.gate_proj", "layers.*.up_proj", "layers.*.down_proj",
        "norm", "lm_head",
    ]  # fmt: skip


def test_experts_run_as_often_as_they_are_touched(mixture: Graph) -> None:
    (plan,) = planned(mixture, machine_of("flightllm-u280"), "decode", 1, 64)
    assert plan.count == 3 * 2


def test_a_prompt_loads_weights_once_for_all_tiles(decoder: Graph) -> None:
    machine = machine_of("flightllm-u280")
    again = machine.with_(**{"storage.weight_reuse": False})
    sizes = {
        m.storage.weight_reuse: simulate(decoder, m, phase="prefill", context=512).totals
        for m in (machine, again)
    }
    assert sizes[False]["weight_bytes"] == pytest.approx(4 * sizes[True]["weight_bytes"])


def test_decode_keeps_vectors_on_chip(decoder: Graph) -> None:
    machine = machine_of("flightllm-u280")
    off = machine.with_(**{"storage.always_on_chip": False})
    kept, moved = (simulate(decoder, m, context=64).totals for m in (machine, off))
    assert kept["activation_bytes"] < moved["activation_bytes"]
    assert kept["seconds"] < moved["seconds"]
    assert kept["weight_bytes"] == moved["weight_bytes"]


def test_places_of_kept_weights_cost_bytes(decoder: Graph) -> None:
    sizes = {}
    for index in ("mask", "list"):
        machine = machine_of("flightllm-u280").with_(
            **{"density": {"*": 0.5}, "storage.index": index}
        )
        sizes[index] = simulate(decoder, machine, context=64).totals["weight_bytes"]
    dense = machine_of("flightllm-u280").with_(density={})
    full = simulate(decoder, dense, context=64).totals["weight_bytes"]
    # INT4 at 8:16: 2 bits, and 1 bit of mask or 2 of list, and a byte a block of 256
    assert sizes["mask"] / full == pytest.approx((2 + 1 + 8 / 256) / 4)
    assert sizes["list"] / full == pytest.approx((2 + 2 + 8 / 256) / 4)


def test_split_as_published() -> None:
    machine = machine_of("flightllm-vhk158")
    cases = {
        (256, Queue.MV): ((128, 128), 4),
        (688, Queue.MV): ((114,) * 6 + (4,), 4),
        (256, Queue.MM): ((256,), 2),
        (688, Queue.MM): ((229, 229, 229, 1), 2),
    }
    for (blocks, queue), wanted in cases.items():
        split = split_k(blocks, queue, machine)
        assert (split.pieces, split.depth) == wanted


def test_an_address_outside_a_buffer_is_named() -> None:
    machine = machine_of("flightllm-small")
    buffers = machine.buffers
    load = Instruction(Queue.LD, mode=0, bank_address=buffers.b_entries, length=16)
    said = rf"instruction 0 \(LD\): bank_address is outside.*0 to {buffers.b_entries - 1}"
    with pytest.raises(SpecError, match=said):
        check(Program.of([load]), machine)
    product = Instruction(Queue.MM, k_blocks=1, out_address=buffers.global_entries)
    with pytest.raises(SpecError, match=r"instruction 0 \(MM\): out_address is outside"):
        check(Program.of([product]), machine)
    with pytest.raises(SpecError, match=r"instruction 0 \(LD\): loads into no buffer"):
        check(Program.of([Instruction(Queue.LD, mode=7)]), machine)


@pytest.mark.parametrize("field", sorted(FIELD_BITS))
def test_every_field_has_its_bits(field: str) -> None:
    for queue, bits in FIELD_BITS[field].items():
        Program.of([Instruction(queue, **{field: (1 << bits) - 1})]).verify()
        with pytest.raises(SpecError, match=f"{field} out of range"):
            Program.of([Instruction(queue, **{field: 1 << bits})]).verify()
    other = next(q for q in (Queue.SYS, *Queue) if q not in FIELD_BITS[field])
    with pytest.raises(SpecError, match="no such field"):
        Program.of([Instruction(other, **{field: 1})]).verify()


def test_records_and_arrays_are_the_same_program() -> None:
    rows = [
        Instruction(Queue.LD, release=8, mode=4, address=1 << 33, length=77, work=77.0),
        Instruction(Queue.MV, wait=1, k_blocks=9, output=1, work=72.0),
    ]
    program = Program.of(rows, ("unit",))
    assert list(program) == rows
    assert Program.join([program, program]).counts()["mv"] == 2
    assert program.words == 11
    assert program.encoded_equal(Program.of(rows))
    assert program.place(1) == "instruction 1 (MV, unit unit)"


def test_what_is_too_long_to_unroll_is_refused() -> None:
    nest = Nest(Queue.MV, (1,), 2, 1_000_000, block_bytes=16.0, path=1)
    with pytest.raises(SpecError, match="more than 1,000,000 instructions"):
        lower(UnitPlan("x", 0, 1, (nest,)), machine_of("flightllm-u280"))
