"""Keys and values in a narrow format, with a scale a token and head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import SpecError, unknown_name
from plait.models.graph.assign import kv_storage_bits
from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["KVFormat"]


@dataclass(frozen=True)
class KVFormat(Rewrite):
    """Keep keys and values in a format; the argument ``formats`` of a simulation wins over it.

    Args:
        format: a name of ``plait formats``, such as int8, int4, fp4.
    """

    format: str = "int8"

    name: ClassVar = "kv-format"
    changes_outputs: ClassVar = True
    effect: ClassVar = "keys and values are rounded to the format"

    def __post_init__(self) -> None:
        from plait.models import formats

        if self.format not in formats.names():
            what = unknown_name("format", self.format, formats.names())
            raise SpecError(what, where=f"rewrite {self.name}: format")

    def change(self, graph: Graph) -> Graph:
        """Set the format of the cache where it is written and read."""
        head_dim = next((op.head_dim for op in graph.ops if op.kind == "attention"), 0)
        bits = kv_storage_bits(self.format, head_dim)

        def narrow(op: Op) -> Op:
            if op.kind != "attention" and not op.kv_cout:
                return op
            return dataclasses.replace(op, kv_format=self.format, kv_bits=bits)

        return change_ops(graph, narrow)
