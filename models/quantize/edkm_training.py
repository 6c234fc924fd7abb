"""Training through a palette: DKM's soft weights at eDKM's memory (arXiv 2309.00964).

The attention of a weight to the centroids depends on its 16-bit pattern alone, and a matrix has at
most 65,536 of those. Forward and backward keep a table with one row a pattern and a 16-bit index a
weight, instead of a row a weight; the gradient is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.models.quantize.edkm import TEMPERATURE
from plait.models.quantize.kmeans import best_palette

__all__ = ["Memory", "PaletteLinear", "Training", "attend", "memory", "soft_weights", "train"]

_COOLED = 1e-2  # of the temperature at the start, at the end of training


def attend(points: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """Softmax of -(point - centroid)^2 / temperature: (points, centroids)."""
    return torch.softmax(-(points[:, None] - centroids).square() / temperature, dim=1)


class _SoftWeights(torch.autograd.Function):
    """weights (any shape) and centroids (k) to the attention-weighted centroids."""

    @staticmethod
    def forward(context: Any, weights: Tensor, centroids: Tensor, temperature: float) -> Tensor:
        points, place = torch.unique(weights.to(torch.bfloat16), return_inverse=True)
        points = points.to(centroids.dtype)
        table = attend(points, centroids, temperature)
        context.save_for_backward(points, table, centroids, place.to(torch.uint16))
        context.temperature = temperature
        return (table @ centroids)[place]

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None]:
        (slope,) = slopes
        points, table, centroids, index = context.saved_tensors
        place = index.to(torch.int64)
        # out = sum_j a_j c_j with a = softmax(s), s_j = -(u - c_j)^2 / t: d out / d s_j is
        # a_j (c_j - out), and s_j falls by 2 (u - c_j) / t a unit of u.
        pull = table * (centroids - (table @ centroids)[:, None])
        steep = 2 * (points[:, None] - centroids) / context.temperature
        of_weights = slope * (-(pull * steep).sum(dim=1))[place]
        total = torch.zeros_like(points).index_add_(0, place.reshape(-1), slope.reshape(-1))
        return of_weights, (total[:, None] * (table + pull * steep)).sum(dim=0), None


def soft_weights(weights: Tensor, centroids: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Each weight as its attention-weighted centroid; differentiable in both.

    Args:
        weights: any shape, rounded to bfloat16 for the attention.
        centroids: (k).
        temperature: on squared distances; it has to follow the weights' scale.
    """
    result: Tensor = _SoftWeights.apply(weights, centroids, temperature)
    return result


class PaletteLinear(nn.Module):
    """A linear layer that trains towards a palette of ``1 << bits`` values.

    >>> layer = PaletteLinear(nn.Linear(8, 4), bits=2)
    >>> layer(torch.ones(1, 8)).shape
    torch.Size([1, 4])
    """

    def __init__(self, linear: nn.Linear, bits: int, temperature: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().clone())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        values = self.weight.detach().to(torch.bfloat16).double().numpy()
        found = best_palette(values, 1 << bits)[0]
        self.centroids = nn.Parameter(torch.from_numpy(found).to(self.weight.dtype))
        gaps = np.diff(found)
        # A tenth of the squared gap: firm in the middle of a cluster, soft at its edge.
        self.temperature = temperature or max(float(np.square(gaps).mean()) / 10, TEMPERATURE**2)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), with the soft weights."""
        weight = soft_weights(self.weight, self.centroids, self.temperature)
        return F.linear(inputs, weight, self.bias)

    def hard_weights(self) -> Tensor:
        """The nearest centroid of each weight: what is stored in the end.

        Soft weights come near these only as the temperature falls: lower it while training.
        """
        nearest = (self.weight[..., None] - self.centroids).abs().argmin(dim=-1)
        return self.centroids[nearest]


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A trained layer and its mean squared output errors, all with stored (hard) weights.

    Attributes:
        before: the k-means palette, untrained.
        after: the palette and the weights of the end.
    """

    layer: PaletteLinear
    before: float
    after: float


def train(
    linear: nn.Linear,
    inputs: Tensor,
    bits: int,
    steps: int = 100,
    rate: float = 1e-4,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Train one linear towards a palette, on its output error; the temperature falls meanwhile.

    Args:
        linear: left as it is.
        inputs: (tokens, inputs) that the layer sees; the errors are of all of them.
        bits: of an index.
        steps, rate: of Adam.
        batch: tokens a step, taken in their order, again and again.
        progress: called with the steps done and the steps in all.
    """
    layer = PaletteLinear(linear, bits)
    wanted = linear(inputs).detach()
    before = _hard_error(layer, inputs, wanted)
    warm = layer.temperature
    optimiser = torch.optim.Adam(layer.parameters(), lr=rate)
    for step in range(steps):
        layer.temperature = warm * _COOLED ** (step / steps)
        chosen = torch.arange(step * batch, (step + 1) * batch) % len(inputs)
        loss = F.mse_loss(layer(inputs[chosen]), wanted[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if progress:
            progress(step + 1, steps)
    return Training(layer, before, _hard_error(layer, inputs, wanted))


def _hard_error(layer: PaletteLinear, inputs: Tensor, wanted: Tensor) -> float:
    with torch.no_grad():
        return F.mse_loss(F.linear(inputs, layer.hard_weights(), layer.bias), wanted).item()


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one forward and backward pass: kept for the backward pass, and the peak of all.

    The peak counts what is allocated meanwhile, not the weights and centroids themselves.
    """

    saved_bytes: int
    peak_bytes: int


def memory(weights: Tensor, centroids: Tensor, temperature: float, is_table: bool = True) -> Memory:
    """Measure the attention of weights to centroids, as a table or (``is_table`` False) in full."""
    weights, centroids = (part.detach().clone().requires_grad_() for part in (weights, centroids))
    saved: dict[int, int] = {}  # storages, since a view keeps no bytes of its own

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        if is_table:
            soft = soft_weights(weights, centroids, temperature)
        else:
            rounded = weights.to(torch.bfloat16).to(centroids.dtype).reshape(-1)
            soft = (attend(rounded, centroids, temperature) @ centroids).view_as(weights)
        soft.sum().backward()
    changes = [
        event.nbytes()
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    return Memory(sum(saved.values()), int(np.cumsum(changes).max()))
