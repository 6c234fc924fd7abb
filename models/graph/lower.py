"""From a recognised program to the ops of a Graph: names, sizes, who feeds whom."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from plait.errors import GraphError
from plait.models import formats
from plait.models.graph.assign import SCALE_BITS
from plait.models.graph.fold import fold
from plait.models.graph.graph import Graph
from plait.models.graph.naming import name_nodes
from plait.models.graph.ops import Op
from plait.models.graph.passes import recognise
from plait.models.graph.program import Node, Program
from plait.models.graph.vocabulary import ELEMENTWISE, MATMUL, MOVEMENT, REDUCTION, is_known

__all__ = ["graph_from_program"]

_WEIGHT = {"aten.linear": "weight", "aten.addmm": "mat2", "aten.mm": "mat2", "aten.matmul": "other"}
_BIAS = {"aten.linear": "bias", "aten.addmm": "self", "plait.qlinear": "bias"}


def graph_from_program(program: Program) -> Graph:
    """Recognise the ops of a program, size and name them, and fold repeated layers."""
    for node in program.nodes.values():
        if not is_known(node.target):
            raise GraphError(
                f"op {node.target} is not understood",
                where=f"{program.name}: {node.place}",
                hint="known are the ops of decoder LLMs: plait.models.graph.vocabulary",
            )
    _check_weights(program)
    program = recognise(program)
    kept = [node for node in program.nodes.values() if _is_op(program, node)]
    ops = {node.name: _lower(program, node) for node in kept}
    _mark_attention(program, ops)
    _mark_output(program, ops)
    _count_parameters(program, ops)
    for node in kept:
        ops[node.name] = dataclasses.replace(ops[node.name], inputs=_producers(program, node, ops))
    return Graph(program.name, fold(name_nodes(program, ops))).verify()


def _check_weights(program: Program) -> None:
    """Refuse weight matrices that the program makes of others: their cost would be lost.

    Vectors (the gain 1 + w of a norm) may be computed.
    """
    for node in program.nodes.values():
        if node.name in program.data or node.target not in ELEMENTWISE | MATMUL | REDUCTION:
            continue
        is_vector = node.numel == max(node.shape, default=1) and node.target in ELEMENTWISE
        if not is_vector and program.parameters_behind(node.name):
            raise GraphError(
                f"op {node.target} makes weights of weights",
                where=f"{program.name}: {node.place}",
                hint="merge them before the export",
            )


def _is_op(program: Program, node: Node) -> bool:
    return node.name in program.data and node.target not in MOVEMENT and node.target != "input"


def _lower(program: Program, node: Node) -> Op:
    """The op of one node; its path and inputs are set later."""
    handler = _HANDLERS.get(node.target)
    if handler is None and node.target in ELEMENTWISE | {"aten.sum"}:
        handler = _elementwise
    if handler is None:
        raise GraphError(
            f"op {node.target} on activations is not understood here",
            where=f"{program.name}: {node.place}",
            hint=_HINTS.get(node.target, "it belongs to no norm, attention, rope or router known"),
        )
    return handler(program, node)


_HINTS = dict.fromkeys(
    [*MATMUL, "aten.softmax", "aten._softmax"],
    "attention is softmax(q k^T) v with nothing but scale, mask and soft cap between",
)


def _linear(program: Program, node: Node) -> Op:
    data = program.data_refs(node)
    if len(data) != 1 or node.target not in _WEIGHT:
        raise GraphError(
            f"{node.target} of {len(data)} activations is not understood here",
            where=f"{program.name}: {node.place}",
            hint=_HINTS[node.target],
        )
    weight = program[node.ref(_WEIGHT[node.target])]
    if len(weight.shape) != 2 or program.origin(weight.name) in program.data:
        raise GraphError(
            "a linear whose weight is no matrix",
            where=f"{program.name}: {node.place}",
            got=weight.shape,
            expected="[cout, cin]",
        )
    cout = node.shape[-1]
    return _matrix(program, node, math.prod(weight.shape) // cout, cout)


def _quantised(program: Program, node: Node) -> Op:
    op = _matrix(program, node, node.args["cin"], node.args["cout"])
    return dataclasses.replace(op, **_kept_format(node))


def _ternary(program: Program, node: Node) -> Op:
    """A linear of trits and INT8 activations, at their true storage."""
    cout, cin = program[node.ref("weight")].shape
    return dataclasses.replace(
        _matrix(program, node, cin, cout),
        weight_format="ternary",
        weight_bits=formats.get("ternary").bits_per_weight("tensor", cin, SCALE_BITS, cout),
        group_size=cin,
        activation_format="int8",
        activation_bits=formats.get("int8").bits_per_weight("channel", cin, SCALE_BITS),
    )


def _kept_format(node: Node) -> dict[str, Any]:
    """What a quantised layer says of its weights."""
    if "format" not in node.args:
        return {}
    return {
        "weight_format": node.args["format"],
        "weight_bits": float(node.args["bits_per_weight"]),
        "group_size": node.args["group_size"],
    }


def _matrix(program: Program, node: Node, cin: int, cout: int) -> Op:
    rows, multiple = _rows(program, node)
    bias = node.args.get(_BIAS.get(node.target, "")) is not None
    return Op(
        "",
        "linear",
        rows=rows,
        rows_per_token=multiple,
        cin=cin,
        cout=cout,
        has_bias=bias,
    )


def _experts(program: Program, node: Node) -> Op:
    facts = node.args
    active, rest = divmod(facts["rows"], program.batch * program.query)
    if rest or not active:
        raise GraphError(
            "experts whose rows are no multiple of the tokens",
            where=f"{program.name}: {node.place}",
            got=facts["rows"],
        )
    return Op(
        "",
        "experts",
        rows="routed",
        cin=facts["cin"],
        cout=facts["cout"],
        experts=facts["experts"],
        experts_active=active,
        **_kept_format(node),
    )


def _attention(program: Program, node: Node) -> Op:
    names = ("heads", "kv_heads", "head_dim", "causal", "window")
    sizes = {name: node.args[name] for name in names}
    return Op("", "attention", operands=3, width=sizes["heads"] * sizes["head_dim"], **sizes)


def _embedding(program: Program, node: Node) -> Op:
    rows, multiple = _rows(program, node)
    return Op("", "embedding", rows=rows, width=multiple * node.shape[-1])


def _topk(program: Program, node: Node) -> Op:
    experts, active = node.args["experts"], node.args["active"]
    return Op("", "topk", "topk", width=experts, experts=experts, experts_active=active)


def _rope(program: Program, node: Node) -> Op:
    rows, _ = _rows(program, node)
    return Op("", "rope", "rotary", rows=rows, width=node.args["turned"] // _size(program, rows))


def _vector(kind: str) -> Callable[[Program, Node], Op]:
    """Handler of a recognised op that maps a tensor to one of its size."""

    def handler(program: Program, node: Node) -> Op:
        rows, width = _width(program, node)
        return Op("", kind, node.args["function"], rows=rows, width=width)

    return handler


def _elementwise(program: Program, node: Node) -> Op:
    rows, width = _width(program, node)
    operands = len(program.data_refs(node))
    if node.target == "aten.sum":
        operands = program[program.data_refs(node)[0]].numel // max(node.numel, 1)
    if node.target == "plait.gated_scan":
        operands = 3  # forget gate, update, and the state before
    function = node.target.partition(".")[2]
    return Op("", "elementwise", function, rows=rows, width=width, operands=operands)


_HANDLERS: dict[str, Callable[[Program, Node], Op]] = {
    **dict.fromkeys(MATMUL, _linear),
    "aten.embedding": _embedding,
    "plait.activation": _vector("activation"),
    "plait.attention": _attention,
    "plait.experts": _experts,
    "plait.gated_scan": _elementwise,
    "plait.norm": _vector("norm"),
    "plait.qlinear": _quantised,
    "plait.quantise_tokens": _elementwise,
    "plait.rope": _rope,
    "plait.ternary_linear": _ternary,
    "plait.topk": _topk,
}


def _size(program: Program, rows: str) -> int:
    return {
        "tokens": program.batch * program.query,
        "sequences": program.batch,
        "positions": program.query,
        "once": 1,
    }[rows]


def _rows(program: Program, node: Node) -> tuple[str, int]:
    """Which rows a result has, and how often each: its dimensions but the last.

    The traced sizes of batch and query are looked for among the dimensions, alone or merged.
    """
    batch, query = program.batch, program.query
    leading = node.shape[:-1] or node.shape
    total = math.prod(leading)
    merged = any(size and size % (batch * query) == 0 for size in leading)
    if merged or (query in leading and (batch in leading or batch == 1)):
        rows = "tokens"
    elif query in leading:
        rows = "positions"
    elif batch in leading:
        rows = "sequences"
    else:
        rows = "once"
    multiple, rest = divmod(total, _size(program, rows))
    if rest or not multiple:
        raise GraphError(
            "a tensor whose rows are not understood",
            where=f"{program.name}: {node.place}",
            got=node.shape,
            expected=f"a multiple of {batch} sequences or {query} tokens",
        )
    return rows, multiple


def _width(program: Program, node: Node) -> tuple[str, int]:
    """Which rows a result has, and the elements of each."""
    rows, multiple = _rows(program, node)
    return rows, multiple * (node.shape[-1] if len(node.shape) > 1 else 1)


def _producers(program: Program, node: Node, ops: dict[str, Op]) -> tuple[str, ...]:
    """The ops whose results a node reads, through views and joins."""
    found: dict[str, None] = {}
    waiting = program.data_refs(node)[::-1]
    while waiting:
        name = waiting.pop()
        if name in ops:
            found[name] = None
        else:
            waiting += program.data_refs(program[name])[::-1]
    return tuple(found)


def _sources(program: Program, name: str, ops: dict[str, Op]) -> list[str]:
    """The ops on the way back from a value to the linears that made it, these included."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        node = program[waiting.pop()]
        if node.name in ops:
            found[node.name] = None
        op = ops.get(node.name)
        if op is None or op.kind in ("rope", "norm", "elementwise", "activation"):
            waiting += program.data_refs(node)
    return list(found)


def _mark_attention(program: Program, ops: dict[str, Op]) -> None:
    """Tell ropes which heads they turn, and linears which outputs are keys or values."""
    for name, attention in list(ops.items()):
        if attention.kind != "attention":
            continue
        kv_width = attention.kv_heads * attention.head_dim
        for role, ref in zip(("query", "key", "value"), program[name].args["inputs"], strict=True):
            for source in _sources(program, ref.name, ops):
                op = ops[source]
                if op.kind == "rope":
                    heads = attention.heads if role == "query" else attention.kv_heads
                    ops[source] = dataclasses.replace(
                        op, function=role, heads=heads, head_dim=attention.head_dim
                    )
                elif op.kind == "linear" and role != "query":
                    kv_cout = min(op.cout, op.kv_cout + kv_width)
                    ops[source] = dataclasses.replace(op, kv_cout=kv_cout)


def _mark_output(program: Program, ops: dict[str, Op]) -> None:
    """Flag the linear that gives the logits: the last before the first output of a whole LLM."""
    if not program.outputs or not any(op.kind == "embedding" for op in ops.values()):
        return
    name = program.outputs[0]
    while name in program.data:
        op = ops.get(name)
        if op is not None and op.kind == "linear":
            ops[name] = dataclasses.replace(op, is_output=True)
        data = list(dict.fromkeys(program.data_refs(program[name])))
        if len(data) != 1 or (op is not None and op.kind not in ("elementwise", "activation")):
            return
        name = data[0]


def _count_parameters(program: Program, ops: dict[str, Op]) -> None:
    """Count stored numbers at the first op that reads them."""
    counted: set[str] = set()
    for name, op in ops.items():
        read = [p for ref in program[name].refs for p in program.parameters_behind(ref)]
        fresh = [p for p in dict.fromkeys(read) if p not in counted]
        counted.update(fresh)
        numbers = sum(program[p].numel for p in fresh)
        if "format" in program[name].args:  # packed codes are buffers
            numbers += op.cin * op.cout * (op.experts or 1)
        ops[name] = dataclasses.replace(op, parameters=numbers)
