"""LM-Infinite (arXiv 2308.16137): a Lambda-shaped mask, the first tokens and the last ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["LMInfinite"]


@dataclass(frozen=True)
class LMInfinite(Rewrite):
    """See only the first ``sinks`` and the last ``window`` tokens; the cache holds no others.

    Args:
        sinks: first tokens, seen from as far as ``distance`` at most.
        window: last tokens, the query's own included.
        distance: limit of the distance to a sink, in tokens; 0 = the window.
    """

    sinks: int = 10
    window: int = 4096
    distance: int = 0

    name: ClassVar = "lm-infinite"
    changes_outputs: ClassVar = True
    effect: ClassVar = "tokens between the first and the window are not seen"

    def __post_init__(self) -> None:
        self.require("sinks", self.sinks >= 0, "0 or more")
        self.require("window", self.window >= 1, "1 or more")
        self.require("distance", self.distance >= 0, "0 or more")

    @property
    def limit(self) -> int:
        """The distance at which far sinks are seen."""
        return self.distance or self.window

    def change(self, graph: Graph) -> Graph:
        """Mask attention; a narrower window of the model stays."""

        def mask(op: Op) -> Op:
            if op.kind != "attention":
                return op
            window = min(self.window, op.window or self.window)
            return dataclasses.replace(op, window=window, sinks=self.sinks)

        return change_ops(graph, mask)
