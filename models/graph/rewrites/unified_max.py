"""FlashDecoding++ (arXiv 2311.01282): one constant for all maxima of the softmax."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.models.graph.graph import Graph
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["UnifiedMax"]


@dataclass(frozen=True)
class UnifiedMax(Rewrite):
    """Subtract ``phi`` from every score; a row with a score outside the bounds is computed again.

    What a graph shows is the arithmetic of the maximum; the barrier between parts of a row, which
    the paper puts at a fifth of attention, is in none of the machines.

    Args:
        phi: the constant; from the statistics of the model's scores.
        low, high: bounds of score - phi, both exclusive.
        recompute: expected share of rows that are computed again, for the cost; measure it with
            `plait.models.attention`.
    """

    phi: float = 0.0
    low: float = -80.0
    high: float = 80.0
    recompute: float = 0.0

    name: ClassVar = "unified-max"
    changes_outputs: ClassVar = False
    effect: ClassVar = "same values but for rounding"

    def __post_init__(self) -> None:
        self.require("recompute", 0 <= self.recompute <= 1, "0 to 1")
        self.require("low", self.low < self.high, f"less than high {self.high:g}")
        self.require("high", self.high < 88, "less than 88, where FP32 overflows")

    def change(self, graph: Graph) -> Graph:
        """Mark attention."""
        return change_ops(
            graph,
            lambda op: (
                dataclasses.replace(op, unified_max=True, recompute=self.recompute)
                if op.kind == "attention"
                else op
            ),
        )
