"""A whole module on the hardware's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import plait
from plait.errors import FormatError, SpecError
from plait.models.golden.bit_serial_linear import linear
from plait.models.golden.execute import on_hardware
from plait.models.quantize import int8_activations


class Toy(nn.Module):
    """Tokens to logits through two linears."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(32, 64)
        self.up = nn.Linear(64, 96)
        self.down = nn.Linear(96, 32, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(self.embed(tokens))))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return plait.quantize(Toy(), "bitmod4", group_size=32, scale_bits=8)


def test_linears_are_those_of_the_golden_model(small):
    rows = torch.randn(3, 5, 64)
    chip = on_hardware(small, accumulator_bits=24)
    tensor = small.up.tensor()
    expected = linear(tensor, rows.reshape(15, 64).half().numpy(), accumulator_bits=24)
    got = chip.up(rows).detach() - small.up.bias
    assert torch.allclose(got.reshape(15, -1), torch.from_numpy(expected), atol=1e-5)


@pytest.mark.parametrize("name", ["bitmod3", "bitmod4", "int4", "int6", "int8"])
def test_int8_activations_are_those_of_floats(name):
    """Rounded activations through a float product give what the exact sums do, to FP32."""
    wide = plait.quantize(Toy(), name, group_size=32, scale_bits=8)
    chip = on_hardware(wide, "int8")
    rows = torch.randn(40, 64) * torch.randn(40, 1).exp()
    rows[:, 5] *= 50  # an outlier, which takes most of the range
    with int8_activations(wide):
        bias = wide.up.bias.detach()
        own = wide.up(rows).detach() - bias
    got = chip.up(rows).detach() - bias
    assert (got - own).abs().max() < 2e-6 * own.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "bound"), [("fp16", 3e-3), ("int8", 3e-2)])
def test_logits_are_close_to_the_formats_own(small, activation, bound):
    tokens = torch.arange(24).reshape(2, 12)
    own = small(tokens).detach()
    logits = plait.execute(small, tokens, "bitmod-small", activation=activation)
    assert logits.shape == own.shape
    error = (logits - own).norm() / own.norm()
    assert 0 < error < bound


def test_module_is_left_alone(small):
    before = small(torch.arange(4)).detach()
    plait.execute(small, torch.arange(4)[None], "bitmod-small")
    assert torch.equal(small(torch.arange(4)).detach(), before)


def test_what_cannot_run_is_refused(small):
    with pytest.raises(FormatError, match="scale_bits=8"):
        on_hardware(plait.quantize(Toy(), "bitmod4", group_size=32))
    with pytest.raises(FormatError, match="no quantised linears"):
        on_hardware(Toy())
    with pytest.raises(SpecError, match="golden"):
        plait.execute(small, torch.arange(4)[None], "ant")
    chip = on_hardware(small)
    with pytest.raises(FormatError, match="infinity"):
        chip.up(torch.full((1, 64), np.inf))
