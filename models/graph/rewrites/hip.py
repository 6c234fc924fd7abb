"""HiP attention (arXiv 2406.09827): each block of queries searches the keys that matter.

The published kernels differ between releases; this is one definition, stated in
`plait.models.attention.hip`. The query heads of a KV head search together.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["HiP"]


@dataclass(frozen=True)
class HiP(Rewrite):
    """See ``sinks``, the last ``window`` and the ``keep`` best tokens that a search finds.

    Args:
        keep: tokens found by the search.
        sinks, window: first and last tokens, always seen.
        query_block: queries that share a mask; 1 in decode.
        key_block: keys kept or left together; divides keep, sinks and window.
    """

    keep: int = 512
    sinks: int = 32
    window: int = 128
    query_block: int = 32
    key_block: int = 2

    name: ClassVar = "hip"
    changes_outputs: ClassVar = True
    effect: ClassVar = "only sinks, window and the keys found by a search are seen"

    def __post_init__(self) -> None:
        for key in ("keep", "window", "query_block", "key_block"):
            self.require(key, getattr(self, key) >= 1, "1 or more")
        self.require("sinks", self.sinks >= 0, "0 or more")
        for key in ("keep", "sinks", "window"):
            is_multiple = getattr(self, key) % self.key_block == 0
            self.require(key, is_multiple, f"a multiple of key_block {self.key_block}")
        self.require("window", self.window >= self.query_block, "query_block or more")

    def change(self, graph: Graph) -> Graph:
        """Mask attention and charge the search."""

        def mask(op: Op) -> Op:
            if op.kind != "attention":
                return op
            return dataclasses.replace(
                op,
                window=self.window,
                sinks=self.sinks,
                kept=self.keep,
                query_block=self.query_block,
                key_block=self.key_block,
            )

        return change_ops(graph, mask)
