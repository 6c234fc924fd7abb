"""eDKM beyond its reference rows: the exact palette, the memory of training, the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from plait.models.llm.weights import load_module
from plait.models.quantize.edkm import uniquify
from plait.models.quantize.edkm_training import (
    PaletteLinear,
    attend,
    memory,
    soft_weights,
    train,
)
from plait.models.quantize.kmeans import best_palette

RNG = np.random.default_rng(2)


def test_palette_is_optimal() -> None:
    """Against all partitions of a few sorted points."""
    points = np.sort(RNG.standard_normal(9))
    best = np.inf
    for first in range(1, 8):
        for second in range(first + 1, 9):
            parts = np.split(points, [first, second])
            best = min(best, sum(np.square(part - part.mean()).sum() for part in parts))
    assert best_palette(points, 3)[1] == pytest.approx(best, rel=1e-12)


def test_palette_of_few_values_is_exact() -> None:
    assert best_palette(np.array([1.0, 1.0, 2.0]), 4) == (pytest.approx([1, 2, 2, 2]), 0.0)


def dense(weights: torch.Tensor, centroids: torch.Tensor, temperature: float) -> torch.Tensor:
    """The same without the table: one row a weight."""
    return (attend(weights.reshape(-1), centroids, temperature) @ centroids).view_as(weights)


def test_gradient_is_that_of_the_whole_map() -> None:
    weights = torch.from_numpy(RNG.standard_normal((6, 7)) * 0.05).to(torch.bfloat16).double()
    centroids = torch.tensor([-0.06, -0.01, 0.02, 0.05]).double()
    slopes = torch.from_numpy(RNG.standard_normal((6, 7)))
    found = []
    for function in (soft_weights, dense):
        w, c = weights.clone().requires_grad_(), centroids.clone().requires_grad_()
        out = function(w, c, 3e-4)
        found.append((out.detach(), *torch.autograd.grad(out, (w, c), slopes)))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_training_keeps_a_table_and_an_index() -> None:
    """What autograd saves stays under the bound that `uniquify` states, map and all."""
    weights = (
        torch.randn(256, 192, generator=torch.Generator().manual_seed(0)) * 0.05
    ).requires_grad_()
    centroids = torch.linspace(-0.1, 0.1, 8, requires_grad=True)
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        soft_weights(weights, centroids, 1e-4)
    bound = uniquify(weights.detach().numpy(), 8)
    # The table is FP32 here, twice the bound's 16 bits; points and centroids come on top.
    assert sum(kept) <= 2 * bound.table_bytes + 4 * (bound.patterns + 8)
    assert sum(kept) < bound.map_bytes


def test_training_lowers_the_loss_of_the_soft_weights() -> None:
    torch.manual_seed(1)
    linear = nn.Linear(32, 16, bias=False)
    inputs = torch.randn(64, 32)
    wanted = linear(inputs).detach()
    layer = PaletteLinear(linear, bits=2)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = (layer(inputs) - wanted).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert len(layer.hard_weights().unique()) <= 4


def test_memory_is_measured_to_the_byte() -> None:
    """Kept: U C table, W indices of 16 bits, points and centroids; in full: rows of W."""
    weights = torch.randn(96, 64, generator=torch.Generator().manual_seed(3)) * 0.05
    centroids = torch.linspace(-0.1, 0.1, 8)
    own, full = (memory(weights, centroids, 1e-4, is_table) for is_table in (True, False))
    patterns = uniquify(weights.numpy(), 8).patterns
    assert own.saved_bytes == 4 * patterns * 8 + 2 * weights.numel() + 4 * (patterns + 8)
    assert full.saved_bytes > 4 * weights.numel() * 8
    assert own.saved_bytes < own.peak_bytes < full.peak_bytes


def test_training_lowers_the_error_of_the_stored_weights() -> None:
    torch.manual_seed(2)
    linear = nn.Linear(64, 32)
    found = train(linear, torch.randn(256, 64), bits=2, steps=80, batch=128)
    assert found.after < 0.93 * found.before
    assert len(found.layer.hard_weights().unique()) <= 4


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.long
def test_a_linear_of_smollm2_trains_within_the_bound() -> None:
    """On real weights: the error of the stored palette falls, and memory is that of the table."""
    linear = load_module("smollm2-135m").get_submodule("layers.10.self_attn.k_proj")
    inputs = torch.randn(256, 576, generator=torch.Generator().manual_seed(0))
    found = train(linear, inputs, bits=3, steps=15)
    assert found.after < 0.95 * found.before
    layer = PaletteLinear(linear, 3)
    used = memory(linear.weight, layer.centroids, layer.temperature)
    patterns = uniquify(linear.weight.detach().numpy(), 8).patterns
    assert used.saved_bytes == 4 * patterns * 8 + 2 * linear.weight.numel() + 4 * (patterns + 8)
    assert used.saved_bytes < 4 * linear.weight.numel() * 8 / 8
