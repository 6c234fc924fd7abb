"""A router's choice: softmax over the experts' scores, topk, and the shares scaled to sum to 1."""

from __future__ import annotations

from plait.models.graph.passes.base import Match, fused, grow
from plait.models.graph.program import Node, Program, Ref
from plait.models.graph.vocabulary import ELEMENTWISE, MOVEMENT, REDUCTION

_SCORING = ("aten.softmax", "aten._softmax", "aten.sigmoid")


def match(program: Program, node: Node) -> Match | None:
    """Match a topk over activations with the softmax before or after it."""
    if node.target != "aten.topk" or node.name not in program.data:
        return None
    region = grow(program, {node.name}, lambda user, inside: _belongs(program, user, inside))
    source = program.origin(node.refs[0])
    if program[source].target in _SCORING and len(program.users[source]) == 1:
        region.add(source)
        source = program.origin(program[source].refs[0])
    facts = {"experts": program[node.refs[0]].shape[-1], "active": node.args["k"]}
    return Match(frozenset({node.name, *region}), node.name, (source,), facts)


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.topk; shares that are read outside become its results."""
    chosen = fused(program, match, "plait.topk")
    for name in sorted(match.region - {match.output}):
        node = program[name]
        if not match.region.issuperset(program.users[name]):
            args = {"input": Ref(match.output)}
            chosen.append(Node(name, "getitem", args, node.shape, node.dtype, node.path))
    return chosen


def _belongs(program: Program, node: Node, region: set[str]) -> bool:
    understood = node.target in ELEMENTWISE | REDUCTION | MOVEMENT | {"aten.sigmoid"}
    return understood and all(
        name in region or program.origin(name) in region for name in program.data_refs(node)
    )
