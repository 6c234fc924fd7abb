"""Sizes of a graph that papers state: weights stored, weights a token visits, bytes a step reads.

Norms and biases are left out, as published totals of mixtures leave them out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["active_weights", "kv_bytes_per_token", "stored_weights", "weight_bytes_read"]


def stored_weights(graph: Graph) -> int:
    """Weights of all matrices and embeddings; tied ones count once.

    >>> from plait.models.graph import load_graph
    >>> stored_weights(load_graph("llama-2-7b"))
    6738149376
    """
    return sum(_stored(op) * op.count for op in graph.ops)


def active_weights(graph: Graph) -> int:
    """Weights that one token visits; the whole embedding counts."""
    return round(
        sum(
            _stored(op) * op.count * (op.experts_active / op.experts if op.kind == "experts" else 1)
            for op in graph.ops
        )
    )


def kv_bytes_per_token(workload: Workload) -> float:
    """Bytes that one token adds to the cache of its sequence."""
    c = workload.columns
    values = 2 * c["count"] * c["kv_heads"] * c["head_dim"] * (c["kind"] == "attention")
    return float((values * c["kv_bits"] / 8).sum())


def weight_bytes_read(workload: Workload) -> float:
    """Bytes of the matrices that a step touches, each once; experts by their expected number."""
    c = workload.columns
    weights = c["count"] * c["cin"] * c["cout"] * c["experts_touched"]
    return float((weights * c["weight_bits"] / 8).sum())


def _stored(op: Op) -> int:
    if not op.has_weight:
        return op.parameters if op.kind == "embedding" else 0
    # a tied output matrix has no parameters of its own
    return math.prod((op.cin, op.cout, max(op.experts, 1))) if op.parameters else 0
