"""Fewer KV heads, each serving a group of query heads (GQA, arXiv 2305.13245; MQA with one)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.models.graph.ops import PREVIOUS, Op
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["GroupedKV"]


@dataclass(frozen=True)
class GroupedKV(Rewrite):
    """Leave ``kv_heads`` KV heads; each is the mean of those it replaces.

    Args:
        kv_heads: KV heads left; divides those of the model.
    """

    kv_heads: int

    name: ClassVar = "grouped-kv"
    changes_outputs: ClassVar = True
    effect: ClassVar = "KV heads are averaged; a model must be trained again to make up for it"

    def __post_init__(self) -> None:
        self.require("kv_heads", self.kv_heads >= 1, "1 or more")

    def change(self, graph: Graph) -> Graph:
        """Narrow the projections of k and v, what follows them, and the cache."""
        owners = [op for op in graph.ops if op.kind == "attention"]
        for op in owners:
            if op.kv_heads % self.kv_heads:
                raise SpecError(
                    "does not divide the KV heads",
                    where=f"rewrite {self.name}: kv_heads",
                    got=self.kv_heads,
                    expected=f"a divisor of {op.kv_heads}",
                )
        if not owners:
            raise SpecError("has no attention", where=graph.name)
        before = owners[0].kv_heads
        following = _after_keys(graph)

        def narrow(op: Op) -> Op:
            if op.kind == "attention":
                return dataclasses.replace(op, kv_heads=self.kv_heads)
            if op.kv_cout:
                return _narrow_projection(op, op.kv_cout * self.kv_heads // before)
            if op.path in following:
                width = op.width * self.kv_heads // before
                return dataclasses.replace(
                    op, width=width, heads=op.heads * self.kv_heads // before
                )
            return op

        return change_ops(graph, narrow)


def _narrow_projection(op: Op, kv_cout: int) -> Op:
    fewer = op.kv_cout - kv_cout
    parameters = op.parameters - fewer * (op.cin + op.has_bias)
    return dataclasses.replace(op, cout=op.cout - fewer, kv_cout=kv_cout, parameters=parameters)


def _after_keys(graph: Graph) -> set[str]:
    """Norms and rotations between a projection of keys and attention."""
    made = {op.path for op in graph.ops if op.kv_cout and op.kv_cout == op.cout}
    found: set[str] = set()
    for op in graph.ops:
        inputs = {name.removeprefix(PREVIOUS) for name in op.inputs}
        if op.kind in ("norm", "rope") and inputs & (made | found):
            found.add(op.path)
    return found
