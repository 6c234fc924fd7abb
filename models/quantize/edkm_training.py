"""Training through a palette: DKM's soft weights at eDKM's memory (arXiv 2309.00964).

The attention of a weight to the centroids depends on its 16-bit pattern alone, and a matrix has at
most 65,536 of those. Forward and backward keep a table with one row a pattern and a 16-bit index a
weight, instead of a row a weight; the gradient is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.models.quantize.edkm import TEMPERATURE
from plait.models.quantize.kmeans import best_palette

__all__ = ["PaletteLinear", "attend", "soft_weights"]


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
