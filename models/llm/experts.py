"""Experts of a mixture: grouped linears over one custom op.

`plait::grouped_linear` is how a graph recognises experts: (rows, active, cin) activations, the
(rows, active) numbers of the experts chosen, and stacked weights (experts, cout, cin).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plait.models.llm.config import LLMShape

__all__ = ["Experts", "GroupedLinear"]


@torch.library.custom_op("plait::grouped_linear", mutates_args=())
def grouped_linear(inputs: Tensor, chosen: Tensor, weight: Tensor) -> Tensor:
    """Multiply each row with the matrix of its expert.

    Args:
        inputs: (rows, active, cin).
        chosen: (rows, active) integers below `experts`.
        weight: (experts, cout, cin).

    Returns:
        (rows, active, cout).
    """
    outputs = inputs.new_empty(*chosen.shape, weight.shape[1])
    for expert in chosen.unique().tolist():
        rows = chosen == expert
        outputs[rows] = inputs[rows] @ weight[expert].T
    return outputs


@grouped_linear.register_fake
def _(inputs: Tensor, chosen: Tensor, weight: Tensor) -> Tensor:
    return inputs.new_empty(*chosen.shape, weight.shape[1])


class GroupedLinear(nn.Module):
    """One matrix an expert, stacked: weight (experts, cout, cin)."""

    def __init__(self, experts: int, cin: int, cout: int) -> None:
        super().__init__()
        values = torch.empty(experts, cout, cin).uniform_(-(cin**-0.5), cin**-0.5)
        self.weight = nn.Parameter(values)

    def forward(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """(rows, active, cin) and the experts (rows, active) to (rows, active, cout)."""
        return grouped_linear(inputs, chosen, self.weight)


class Experts(nn.Module):
    """Gated feed-forward parts, one an expert, weighted by the router."""

    def __init__(self, shape: LLMShape, activation: nn.Module) -> None:
        super().__init__()
        self.gate_proj = GroupedLinear(shape.experts, shape.hidden, shape.ffn)
        self.up_proj = GroupedLinear(shape.experts, shape.hidden, shape.ffn)
        self.down_proj = GroupedLinear(shape.experts, shape.ffn, shape.hidden)
        self.activation = activation

    def forward(self, hidden: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Run the chosen experts.

        Args:
            hidden: (rows, hidden).
            weights, chosen: (rows, active): share and number of each expert of a row.

        Returns:
            (rows, hidden).
        """
        repeated = hidden[:, None].expand(-1, chosen.shape[1], -1)
        gate = self.activation(self.gate_proj(repeated, chosen))
        outputs = self.down_proj(gate * self.up_proj(repeated, chosen), chosen)
        return (outputs * weights[..., None]).sum(dim=1)
