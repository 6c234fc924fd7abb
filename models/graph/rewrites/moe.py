"""A mixture of experts in place of dense layers, and the room its experts have.

Costs follow the expected number of distinct experts that a batch touches under uniform, independent
routing: real routers prefer some experts, so this is an upper bound of the weights read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op
from plait.models.graph.rewrites.base import Rewrite, change_ops, feed_forward

__all__ = ["MoE"]


@dataclass(frozen=True)
class MoE(Rewrite):
    """Replace the feed-forward part (and projections of attention) by experts of the same size.

    On a model that is a mixture already only ``capacity`` is set.

    Args:
        experts, active: experts, and how many a token visits; 0 = the model's own.
        capacity: room of an expert over its even share of the tokens, more are dropped (Switch,
            GShard); 0 = no limit.
        attention: also make experts of q and o, which share k and v (JetMoE, arXiv 2404.07413).
    """

    experts: int = 0
    active: int = 0
    capacity: float = 0.0
    attention: bool = False

    name: ClassVar = "moe"
    changes_outputs: ClassVar = True
    effect: ClassVar = "tokens visit some experts, to be trained; rows beyond capacity are dropped"

    def __post_init__(self) -> None:
        self.require("experts", 0 <= self.experts <= 4096, "0 to 4096")
        self.require("active", 0 <= self.active <= self.experts, f"0 to experts {self.experts}")
        self.require("active", bool(self.active) == bool(self.experts), "1 or more with experts")
        self.require("capacity", 0 <= self.capacity <= 1000, "0 to 1000")
        self.require("attention", self.experts > 0 or not self.attention, "false without experts")

    def change(self, graph: Graph) -> Graph:
        """Put experts in, and bound their rows."""
        if self.experts:
            graph = self._experts(graph)
        elif not any(op.kind == "experts" for op in graph.ops):
            raise SpecError(
                "has no experts", where=graph.name, expected="experts and active of rewrite moe"
            )
        return change_ops(
            graph,
            lambda op: (
                dataclasses.replace(op, capacity=self.capacity) if op.kind == "experts" else op
            ),
        )

    def _experts(self, graph: Graph) -> Graph:
        inner = feed_forward(graph)
        names = {op.path for op in inner}
        ops: list[Op] = []
        for op in graph.ops:
            if op.path == inner[0].path:
                ops += self._router(op, inner[0].path.rpartition(".")[0])
            if op.path in names:
                ops.append(self._expert(op))
            elif self.attention and op.layers:
                ops += self._attention(op)
            else:
                ops.append(op)
            if op.path == inner[-1].path:
                ops += self._combine(op)
        return dataclasses.replace(graph, ops=tuple(ops))

    def _router(self, op: Op, folder: str) -> list[Op]:
        """Scores of all experts, and the choice."""
        gate = dataclasses.replace(
            op,
            path=f"{folder}.router",
            cout=self.experts,
            kv_cout=0,
            parameters=op.cin * self.experts,
            has_bias=False,
        )
        chosen = Op(
            f"{folder}.topk",
            "topk",
            "topk",
            inputs=(gate.path,),
            layers=op.layers,
            width=self.experts,
            experts=self.experts,
            experts_active=self.active,
        )
        return [gate, chosen]

    def _expert(self, op: Op) -> Op:
        is_linear = op.kind == "linear"
        return dataclasses.replace(
            op,
            kind="experts" if is_linear else op.kind,
            rows="routed",
            experts=self.experts,
            experts_active=self.active,
            parameters=self.experts * op.parameters,
        )

    def _combine(self, op: Op) -> list[Op]:
        """The weighted sum of what the visited experts give."""
        return [
            Op(
                f"{op.path}_sum",
                "elementwise",
                "sum",
                inputs=(op.path,),
                layers=op.layers,
                width=op.cout,
                operands=2 * self.active,
            )
        ]

    def _attention(self, op: Op) -> list[Op]:
        """Experts of q and o: each visited one has all query heads, over shared keys and values."""
        if op.kind == "attention":
            heads = op.heads * self.active
            return [dataclasses.replace(op, heads=heads, width=heads * op.head_dim)]
        if op.kind == "rope" and op.function == "query":
            return [
                dataclasses.replace(op, heads=op.heads * self.active, width=op.width * self.active)
            ]
        if op.kind != "linear" or op.kv_cout == op.cout:
            return [op]
        expert = self._expert(op)
        if op.kv_cout:
            raise SpecError("q, k and v are one matrix", where=op.path, expected="three matrices")
        if "attention" in " ".join(op.inputs):
            return [expert, *self._combine(op)]
        return [*self._router(op, op.path.rpartition(".")[0]), expert]
