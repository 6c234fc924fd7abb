"""The `LLMShape` of a graph, where it is a regular decoder."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError
from plait.models.graph.ops import Op

if TYPE_CHECKING:
    from plait.models.graph.graph import Graph
    from plait.models.llm.config import LLMShape

__all__ = ["recover_shape"]

_UNKNOWN_POSITIONS = 1 << 20
_FORMATS: dict[str, Any] = {
    field.name: field.default
    for field in dataclasses.fields(Op)
    if field.name.endswith(("_format", "_bits")) or field.name == "group_size"
}


def recover_shape(graph: Graph) -> LLMShape | None:
    """Read the shape off the ops; None unless all layers are alike and every weight is explained.

    The test: a decoder of the shape that was read has exactly the parameters of the graph. What
    costs nothing and is in no op keeps its default (epsilons, angles of rope). Formats play no
    part, they may differ by layer.
    """
    from plait.models.llm.config import LLMShape

    block = _block(graph)
    outside = [op for op in graph.ops if not op.layers]
    try:
        fields = _fields(block, outside) if block else None
        if fields is None:
            return None
        shape = LLMShape(
            name=graph.name,
            layers=len(graph.layers),
            max_positions=graph.max_positions or fields.pop("positions") or _UNKNOWN_POSITIONS,
            **{key: value for key, value in fields.items() if key != "positions"},
        )
    except SpecError:
        return None
    return shape if shape.parameters == graph.parameters else None


def _block(graph: Graph) -> list[Op]:
    """The ops of one layer, if all layers have the same ones but for formats; else nothing."""
    layers: dict[Op, list[int]] = defaultdict(list)
    for op in graph.ops:
        if op.layers:
            plain = dataclasses.replace(op, layers=(), inputs=(), first_inputs=(), **_FORMATS)
            layers[plain] += op.layers
    alike = all(sorted(found) == list(graph.layers) for found in layers.values())
    return list(layers) if alike else []


def _fields(block: list[Op], outside: list[Op]) -> dict[str, Any] | None:
    """Fields of `LLMShape`, or None where the block is of another build."""
    attention = [op for op in block if op.kind == "attention"]
    head = [op for op in outside if op.is_output]
    embeddings = [op for op in outside if op.kind == "embedding"]
    if len(attention) != 1 or len(head) != 1 or not 1 <= len(embeddings) <= 2:
        return None
    at = block.index(attention[0])
    projections = [op for op in block[:at] if op.kind == "linear"]
    weights = [op for op in block[at:] if op.has_weight]
    if not projections or len(weights) < 2:
        return None
    output, *rest = weights
    feed_forward = _feed_forward(rest, output.cout)
    norms = _norms(block, block.index(projections[0]), at)
    activations = {op.function for op in block if op.kind == "activation"}
    if feed_forward is None or norms is None or len(activations) != 1:
        return None
    position = _position(block, embeddings, attention[0])
    if position is None:
        return None
    heads = ("heads", "kv_heads", "head_dim")
    return {
        **{name: getattr(attention[0], name) for name in heads},
        **feed_forward,
        **norms,
        **position,
        "hidden": output.cout,
        "vocab": head[0].cout,
        "activation": activations.pop(),
        "qkv_bias": any(op.has_bias for op in projections),
        "output_bias": output.has_bias,
        "head_bias": head[0].has_bias,
        "tied": head[0].parameters < head[0].cin * head[0].cout,
    }


def _feed_forward(linears: list[Op], hidden: int) -> dict[str, Any] | None:
    """Inner width, gating and experts of the linears after attention's output."""
    experts = [op for op in linears if op.kind == "experts"]
    matrices = experts or linears
    *first, down = matrices
    wide = sum(op.cout for op in first)
    if down.cout != hidden or wide not in (down.cin, 2 * down.cin):
        return None
    return {
        "ffn": down.cin,
        "gated": wide == 2 * down.cin,
        "ffn_bias": any(op.has_bias for op in matrices),
        "experts": down.experts,
        "experts_active": down.experts_active,
    }


def _norms(block: list[Op], first: int, attention: int) -> dict[str, Any] | None:
    """Kind of norm, norms over heads (between first projection and attention), norms a layer."""
    norms = [op for op in block if op.kind == "norm"]
    over_heads = [op for op in norms if first < block.index(op) < attention]
    functions = {op.function for op in norms if op not in over_heads}
    if len(functions) != 1 or any(op.function != "rms_norm" for op in over_heads):
        return None
    whole = len(norms) - len(over_heads)
    if whole not in (1, 2) or len(over_heads) not in (0, 2):
        return None
    return {"norm": functions.pop(), "qk_norm": bool(over_heads), "parallel": whole == 1}


def _position(block: list[Op], embeddings: list[Op], attention: Op) -> dict[str, Any] | None:
    """Rotary or learned positions; ``positions`` are the rows of a learned table."""
    ropes = [op for op in block if op.kind == "rope" and op.function == "query"]
    if len(embeddings) == 2:
        table = embeddings[1]
        rows = table.parameters // table.width
        return None if ropes else {"position": "learned", "positions": rows}
    if not ropes:
        return None
    fraction = ropes[0].width / (attention.heads * attention.head_dim)
    return {"position": "rope", "rope_fraction": fraction, "positions": 0}
