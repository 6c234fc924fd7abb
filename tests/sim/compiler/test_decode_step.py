"""Shapes as programs of the Verilog core: what is compiled, what is cut, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from plait.errors import SpecError
from plait.models.graph import Graph, load_graph
from plait.models.graph.workload import Workload
from plait.sim import simulate
from plait.sim.compiler.core import core_of
from plait.sim.compiler.decode_step import compile_step
from plait.sim.compiler.instruction import Queue
from plait.sim.compiler.kept import KEPT, spread
from plait.sim.compiler.relocatable import Multiply, Special
from plait.sim.families.sparse_dsp import trace
from plait.sim.families.sparse_dsp_verilog import CAUSES, run_units, verilog
from plait.sim.spec import load_accelerator
from plait.sim.spec.sparse_dsp import SparseDsp

SMALL = load_accelerator("flightllm-small")
assert isinstance(SMALL, SparseDsp)
LARGER = SMALL.with_(
    **{
        "buffers.global_entries": 1024,
        "buffers.b_entries": 1024,
        "buffers.meta_entries": 2048,
        "buffers.fsb_entries": 1024,
    }
)


def bound(name: str, context: int = 16, **changes: object) -> Workload:
    graph = load_graph(name)
    workload = graph.bind("decode", 1, context, None, SMALL.formats.resolve(graph.name, "decode"))
    columns = dict(workload.columns)
    for column, value in changes.items():
        columns[column] = np.full_like(columns[column], value)
    return dataclasses.replace(workload, columns=columns)


def test_units_of_a_token() -> None:
    """Every op of SmolLM2 is there in its order, all its outputs, all their sums."""
    workload = bound("smollm2-135m")
    layers, after = compile_step(workload, SMALL)
    assert (layers.name, layers.count, after.count) == ("layers", 30, 1)
    assert (layers.inputs, after.inputs) == (("^layers.*.add_2",), ("layers.*.add_2",))
    c = workload.columns
    ops = list(dict.fromkeys(unit.op for unit in (*layers.units, *after.units)))
    assert ops == [op for op, kind in zip(c["op"], c["kind"], strict=True) if kind != "embedding"]
    for row in np.flatnonzero(c["kind"] == "linear"):
        units = [u for u in (*layers.units, *after.units) if u.row == row]
        products = [p for u in units for p in u.program["k_blocks"][u.program["queue"] == Queue.MV]]
        assert products == [c["cin"][row] // 16] * (c["cout"][row] // 16)
        tasks = [u.task for u in units if isinstance(u.task, Multiply)]
        groups = [group for task in tasks for group in task.groups]
        assert groups == list(range(c["cout"][row] // 16))
    heads = [u.head for u in layers.units if u.part == "softmax"]
    assert heads == list(range(9))


def test_what_a_matrix_multiplies_or_the_cache_keeps_is_int8() -> None:
    layers, after = compile_step(bound("smollm2-135m"), SMALL)
    narrow = {u.name for u in (*layers.units, *after.units) if u.task.is_int8 and not u.head}
    assert {name.removeprefix("layers.*.") for name in narrow} == {
        "input_layernorm", "self_attn.v_proj", "self_attn.q_rope sum", "self_attn.k_rope sum",
        "self_attn.attention softmax 0", "self_attn.attention values 0",
        "post_attention_layernorm", "mlp.mul", "norm",
    }  # fmt: skip


def test_every_vector_is_written_before_it_is_read() -> None:
    layers, _ = compile_step(bound("smollm2-135m"), SMALL)
    written: set[str] = set()
    outs = {unit.task.out.name for unit in layers.units}
    for unit in layers.units:
        task = unit.task
        if isinstance(task, Special):
            reads = [vector for vector in (task.left, task.right) if vector]
        else:
            reads = list(task.rows)
        assert {vector.name for vector in reads} & outs <= written
        written.add(task.out.name)


def test_a_step_is_the_sum_of_its_runs() -> None:
    workload = bound("smollm2-135m")
    found = verilog(workload, SMALL)
    core = core_of(SMALL)
    runs = [(s.count, run_units(s.units, core)) for s in compile_step(workload, SMALL)]
    assert found.time.sum() == sum(count * run.times.cycles for count, run in runs)
    fetch = sum(count * run.times.fetch_cycles for count, run in runs)
    assert found.rungs["fetch"].sum() == fetch
    assert list(found.rungs) == list(CAUSES)
    spans = trace(workload, SMALL, "verilog")
    assert [span.count for span in spans] == [c for c, run in runs for _ in run.segments]
    drawn = sum(span.count * span.timeline.total for span in spans) * SMALL.clock_hz
    ended = 2 * sum(span.count for span in spans)  # cycles from a last SYS to the next segment
    assert found.time.sum() - ended <= drawn <= found.time.sum()
    # Codes of 4 bits, masks of 16 x 16 bits, kept counts a byte a block, 8 bytes an output.
    linear = workload.columns["kind"] == "linear"
    c = {name: values[linear] for name, values in workload.columns.items()}
    density = np.array([SMALL.density_of(op) for op in c["op"]])
    groups, blocks = c["cout"] // 16, c["cin"] // 16
    places = np.where(density < 1, 32 * blocks + 32 * -(-blocks // 32), 0)
    least = groups * (blocks * 256 * density / 2 + places + 16 * 8)
    surplus = found.columns["weight_bytes"][linear] / c["count"] - least
    assert (surplus >= 0).all()
    assert (surplus < 32 * groups).all()  # a word that is not full, a group


@pytest.mark.slow  # the export of the graph, where no test before kept it
def test_llama_needs_larger_buffers_and_then_compiles() -> None:
    workload = bound("llama-2-7b", 512)
    norm = r"layers.\*.input_layernorm: does not fit buffers.global_entries, got '512 words"
    with pytest.raises(SpecError, match=norm):
        compile_step(workload, SMALL)
    down = r"layers.\*.mlp.down_proj.*: does not fit buffers.b_entries, got '688 words"
    with pytest.raises(SpecError, match=down):
        compile_step(workload, SMALL.with_(**{"buffers.global_entries": 1024}))
    layers, after = compile_step(workload, LARGER)
    assert layers.count == 32
    found = {u.name for u in (*layers.units, *after.units)}
    assert {"layers.*.mlp.gate_proj 1/3", "layers.*.mlp.mul 2/2", "lm_head 1/8"} <= found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weight_format": "bitmod4"}, "q_proj: the machine's dequantiser lacks it, got 'bitmod4'"),
        ({"activation_format": "fp16"}, "q_proj: activation_bits: the DSP chains take INT8, got"),
        ({"kv_format": "fp16"}, "attention: kv_bits: the DSP chains take INT8, got 'fp16'"),
        ({"unified_max": True}, "attention: the Verilog does not do it.*one constant"),
        ({"head_dim": 24}, "does not do it"),
        ({"parameters": 7}, "input_layernorm: the Verilog does not do it.*norms of parts"),
        ({"function": "layer_norm"}, "input_layernorm: .*got 'layer_norm', expected linear, att"),
        ({"kind": "experts"}, "embed_tokens: the Verilog does not do it, got 'experts'"),
        ({"inputs": 1}, "add: the Verilog does not do it, got 'add of a constant'"),
        ({"heads": 8}, "does not do it"),
        ({"tokens": 2.0}, "q_proj: the Verilog does not do it, got '2 rows'"),
    ],
)
def test_what_the_verilog_lacks_is_one_line(changes, named) -> None:
    with pytest.raises(SpecError, match=named) as error:
        compile_step(bound("smollm2-135m", **changes), SMALL)
    assert "\n" not in str(error.value)


def test_steps_and_graphs_that_there_is_no_program_of(decoder: Graph) -> None:
    with pytest.raises(SpecError, match=r"flightllm-small: the Verilog runs one token .*'prefill"):
        simulate(decoder, SMALL, phase="prefill", context=9, fidelity="verilog")
    with pytest.raises(SpecError, match="batch 2"):
        simulate(decoder, SMALL, batch=2, context=9, fidelity="verilog")
    with pytest.raises(SpecError, match="the graph does not say what it reads"):
        simulate(decoder, SMALL, context=9, fidelity="verilog")
    with pytest.raises(SpecError, match=r"cores.count: there is no Verilog of such a machine"):
        simulate(decoder, "flightllm-u280", context=9, fidelity="verilog")


def test_kept_counts_are_checked() -> None:
    workload = bound("smollm2-135m")
    with pytest.raises(SpecError, match="kept: no op of this model, got 'q_proj'"):
        compile_step(workload, SMALL, {"q_proj": np.zeros((36, 36), np.int64)})
    with pytest.raises(SpecError, match=r"q_proj: not a count a block.*expected \(36, 36\)"):
        compile_step(workload, SMALL, {"layers.*.self_attn.q_proj": np.zeros((36, 12), np.int64)})


@pytest.mark.parametrize("density", [0.01, 0.125, 0.3, 0.46875, 0.7, 0.99])
def test_densities_are_spread_evenly(density: float) -> None:
    kept = spread(density, 12, 20)
    assert set(np.unique(kept)) <= set(KEPT)
    assert kept.mean() == pytest.approx(16 * density, abs=16 / kept.size)
    assert np.ptp(kept.sum(axis=1)) <= 8
