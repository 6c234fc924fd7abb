"""The MatMul-free model: the recurrence equals the whole run, trits are trits, sizes are right."""

from __future__ import annotations

import pytest
import torch

from plait.errors import SpecError
from plait.models.graph import load_graph
from plait.models.graph.export import export_module
from plait.models.llm.matmul_free import (
    BitLinear,
    MatMulFree,
    MatMulFreeShape,
    load_matmul_free_shape,
)
from plait.sim.run import simulate


@pytest.fixture(scope="module")
def model() -> MatMulFree:
    torch.manual_seed(0)
    return (
        MatMulFree(MatMulFreeShape("tiny", 3, 32, vocab=50)).double().eval().requires_grad_(False)
    )


def test_decoding_from_a_state_is_the_whole_run(model: MatMulFree) -> None:
    tokens = torch.arange(14).reshape(2, 7)
    whole, state = model(tokens), None
    for place in range(7):
        logits, state = model.decode(tokens[:, place], state)
        assert torch.allclose(logits, whole[:, place], rtol=1e-9, atol=1e-9)
    assert state.shape == (3, 2, 32)


def test_later_tokens_do_not_change_earlier_ones(model: MatMulFree) -> None:
    first, second = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 9, 9]])
    assert torch.equal(model(first)[:, :2], model(second)[:, :2])


def test_lower_bounds_rise_from_zero(model: MatMulFree) -> None:
    bounds = model.lower_bounds()
    assert (bounds[0] == 0).all()
    assert (bounds.diff(dim=0) > 0).all()
    assert (bounds < 1).all()


def test_products_need_no_multiplier() -> None:
    layer = BitLinear(16, 8).double()
    trits, _ = layer.trits()
    assert set(trits.unique().tolist()) <= {-1.0, 0.0, 1.0}
    codes, _ = layer.codes(torch.randn(5, 16).double())
    assert (codes == codes.round()).all()
    assert codes.abs().max() == 127


@pytest.mark.parametrize(
    ("name", "layers", "hidden", "ffn", "billions"),
    [
        ("matmul-free-370m", 24, 1024, 2816, 0.37),
        ("matmul-free-1.3b", 24, 2048, 5632, 1.36),
        ("matmul-free-2.7b", 32, 2560, 6912, 2.70),
    ],
)
def test_published_sizes(name: str, layers: int, hidden: int, ffn: int, billions: float) -> None:
    shape = load_matmul_free_shape(name)
    assert (shape.layers, shape.hidden, shape.ffn) == (layers, hidden, ffn)
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.02)


def test_an_unknown_size_lists_the_known() -> None:
    with pytest.raises(SpecError, match=r"matmul-free-1\.3b"):
        load_matmul_free_shape("matmul-free-1.4b")


def test_a_graph_keeps_the_trits_and_no_cache(model: MatMulFree) -> None:
    graph = export_module(model)
    linears = {op.path.split(".", 2)[-1]: op for op in graph.ops if op.kind == "linear"}
    assert set(linears) == {
        "mixer.i", "mixer.f", "mixer.g", "mixer.o", "unit.gate_up", "unit.down", "lm_head",
    }  # fmt: skip
    ternary = [op for op in linears.values() if op.weight_format]
    assert {op.weight_format for op in ternary} == {"ternary"}
    assert {op.activation_format for op in ternary} == {"int8"}
    trits = sum(op.count * op.cin * op.cout for op in ternary)
    assert trits == model.shape.trits
    assert graph.parameters == sum(p.numel() for p in model.parameters())
    assert not any(op.kind == "attention" for op in graph.ops)
    stored = graph.bind("decode", 1, 10).columns
    bits = stored["count"] * stored["cin"] * stored["cout"] * stored["weight_bits"]
    of_trits = stored["weight_format"] == "ternary"
    assert bits[of_trits].sum() == 2 * trits + 16 * sum(op.count for op in ternary)


def test_what_export_sees_computes_the_same(model: MatMulFree) -> None:
    tokens = torch.arange(12).reshape(2, 6)
    traced = torch.export.export(model, (tokens,), strict=False).module()
    assert torch.allclose(traced(tokens), model(tokens), rtol=1e-6, atol=1e-6)


def test_the_context_costs_nothing() -> None:
    graph = load_graph("matmul-free-370m")
    assert graph.parameters == pytest.approx(374e6, rel=0.01)
    short, long = (simulate(graph, "matmul-free-fpga", context=n) for n in (16, 65536))
    assert short.cycles == long.cycles
    assert short.totals["kv_bytes"] == 0
    moved = short.table.set_index("op")["weight_bytes"].drop("lm_head").sum()
    shape = load_matmul_free_shape("matmul-free-370m")
    assert moved == shape.trits / 4 + 2 * 6 * shape.layers  # 2 bits a trit, a scale a matrix
