"""The MatMul-free model: the recurrence equals the whole run, trits are trits, sizes are right."""

from __future__ import annotations

import pytest
import torch

from plait.errors import SpecError
from plait.models.llm.matmul_free import (
    BitLinear,
    MatMulFree,
    MatMulFreeShape,
    load_matmul_free_shape,
)


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
