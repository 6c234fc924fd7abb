"""Attention: `scaled_dot_product_attention`, or matmul, softmax, matmul written out.

Keys that are repeated for grouped queries are read through to the ones that are stored, so
``kv_heads`` is what the cache holds. Mask and window are read from the comparisons of positions
from which the program makes its mask.
"""

from __future__ import annotations

import math

from plait.errors import GraphError
from plait.models.graph.passes.base import Match, fused
from plait.models.graph.program import Node, Program
from plait.models.graph.vocabulary import ELEMENTWISE, MOVEMENT

_SDPA = "aten.scaled_dot_product_attention"
_SOFTMAX = ("aten.softmax", "aten._softmax")
_PRODUCTS = ("aten.matmul", "aten.bmm", "aten.baddbmm", "aten.einsum")
_ON_SCORES = ELEMENTWISE | MOVEMENT | {"aten.tanh"}  # scale, mask, soft cap
_COMPARISONS = ("aten.le", "aten.lt", "aten.ge", "aten.gt")


def match(program: Program, node: Node) -> Match | None:
    """Match a fused attention op, or a softmax between two products of activations."""
    if node.target == _SDPA:
        return _fused_op(program, node)
    if node.target in _SOFTMAX and node.name in program.data:
        return _written_out(program, node)
    return None


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.attention."""
    return fused(program, match, "plait.attention")


def _fused_op(program: Program, node: Node) -> Match:
    query, key, value = (node.ref(name) for name in ("query", "key", "value"))
    causal, window = bool(node.args.get("is_causal")), 0
    if node.args.get("attn_mask") is not None:
        causal, window = _read_mask(program, [node.ref("attn_mask")])
    sizes = _sizes(program, node, query, key, value, keys=program[key].shape[-2])
    facts = {**sizes, "causal": causal, "window": window}
    return Match(frozenset({node.name}), node.name, (query, key, value), facts)


def _written_out(program: Program, softmax: Node) -> Match | None:
    before = _scores(program, softmax)
    after = _weighted(program, softmax)
    if before is None or after is None:
        return None
    product, masks = before
    query, key = [name for name in program[product[-1]].refs if name in program.data][-2:]
    output = program[after[-1]]
    value = next(name for name in output.refs if name not in (softmax.name, *after))
    causal, window = _read_mask(program, masks)
    keys = softmax.shape[-1]
    sizes = _sizes(program, output, query, key, value, keys)
    facts = {**sizes, "causal": causal, "window": window}
    region = frozenset({softmax.name, *product, *after})
    return Match(region, output.name, (query, key, value), facts)


def _scores(program: Program, softmax: Node) -> tuple[list[str], list[str]] | None:
    """The nodes from the softmax's input back to q k^T, and the masks added on the way."""
    chain, masks = [], []
    current = softmax.refs[0]
    while True:
        node = program[current]
        chain.append(current)
        data = program.data_refs(node)
        if node.target in _PRODUCTS and len(data) == 2:
            masks += [name for name in node.refs if name not in program.data]  # baddbmm
            return chain, masks
        if node.target not in _ON_SCORES or len(data) != 1:
            return None
        masks += [name for name in node.refs if name not in program.data]
        current = data[0]


def _weighted(program: Program, softmax: Node) -> list[str] | None:
    """The nodes from the softmax's result on to the product with the values."""
    chain: list[str] = []
    current = softmax.name
    while True:
        users = [name for name in program.users[current] if name in program.data]
        if len(users) != 1:
            return None
        node = program[users[0]]
        chain.append(node.name)
        if node.target in _PRODUCTS:
            return chain
        if node.target not in MOVEMENT:
            return None
        current = node.name


def _sizes(
    program: Program, node: Node, query: str, key: str, value: str, keys: int
) -> dict[str, int]:
    """Heads and their width; an attention that these do not describe is a GraphError."""
    head_dim = program[query].shape[-1]
    batch, tokens = program.batch, program.query
    heads, rest = divmod(program[query].numel, batch * tokens * head_dim)
    kv_heads = _stored(program, key) // (batch * keys * head_dim)
    value_heads = _stored(program, value) // (batch * keys * head_dim)
    if rest or not heads or not kv_heads or heads % kv_heads:
        raise GraphError(
            "an attention whose heads cannot be read",
            where=node.place,
            got=(program[query].shape, program[key].shape),
            expected=f"queries of {batch} sequences of {tokens} tokens",
        )
    if program[value].shape[-1] != head_dim or value_heads != kv_heads:
        raise GraphError(
            "an attention whose keys and values differ in size",
            where=node.place,
            got=(program[key].shape, program[value].shape),
            expected="one head size for queries, keys and values",
        )
    return {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}


def _stored(program: Program, name: str) -> int:
    """Elements of keys or values before they were repeated for grouped queries."""
    steps = [program[step] for step in program.trail(name)]
    return min(node.numel * (2 if node.dtype == "complex" else 1) for node in steps)


def _read_mask(program: Program, masks: list[str]) -> tuple[bool, int]:
    """Whether a mask is causal, and its window (0 = none), from its comparisons of positions."""
    causal, window = False, 0
    for name in dict.fromkeys(step for mask in masks for step in program.behind(mask)):
        node = program[name]
        if node.target in ("aten.tril", "aten.triu"):
            causal = True
        elif node.target == "aten.floor_divide":
            raise GraphError("a mask in blocks is not understood", where=node.place)
        elif node.target in _COMPARISONS:
            seen = _window(program, node)
            window = seen or window
            causal = causal or not seen
    return causal, window


def _window(program: Program, node: Node) -> int:
    """Keys that a comparison lets through, if it is one of distance with a constant.

    ``k > q - W`` and ``q - k < W`` keep W keys (the query's own among them), ``>=`` and ``<=`` one
    more.
    """
    more = node.target in ("aten.ge", "aten.le")
    limit = _number(node.args.get("other"))
    if limit > 0:
        return limit + more
    for name in node.refs:
        step = program[program.origin(name)]
        shift = _number(step.args.get("other"))
        if step.target in ("aten.sub", "aten.add") and shift:
            distance = shift if step.target == "aten.sub" else -shift
            return distance + more if distance > 1 else 0
    return 0


def _number(value: object) -> int:
    """A whole number among the arguments of a comparison; 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return int(value)
