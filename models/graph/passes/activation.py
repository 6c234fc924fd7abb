"""Activations, as one op or written out: GELU by tanh or erf, SiLU by sigmoid, a cap by tanh."""

from __future__ import annotations

from plait.models.graph.passes.base import Match, fused, grow, only_output
from plait.models.graph.program import Node, Program
from plait.models.graph.vocabulary import ACTIVATION, ELEMENTWISE, MOVEMENT

_SEEDS = {"aten.tanh": "gelu_tanh", "aten.erf": "gelu", "aten.sigmoid": "silu"}


def match(program: Program, node: Node) -> Match | None:
    """Match an activation op with the elementwise ops that belong to its formula."""
    if node.target not in ACTIVATION or node.name not in program.data:
        return None
    plain = Match(frozenset({node.name}), node.name, (node.refs[0],), {"function": _name(node)})
    if node.target not in _SEEDS:
        return plain
    source, before = _source(program, node)
    region = _region(program, source, {node.name, *before})
    output = only_output(program, region)
    if output is None:
        return plain
    gated = any(
        program[name].target == "aten.mul" and len(program.data_refs(program[name])) == 2
        for name in region
    )
    function = _SEEDS[node.target] if gated else node.target.removeprefix("aten.")
    if function == "silu" and before:
        function = "quick_gelu"  # x * sigmoid(1.702 x)
    return Match(frozenset(region), output, (source,), {"function": function})


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.activation."""
    return fused(program, match, "plait.activation")


def _name(node: Node) -> str:
    name = node.target.removeprefix("aten.")
    return "gelu_tanh" if name == "gelu" and node.args.get("approximate") == "tanh" else name


def _source(program: Program, seed: Node) -> tuple[str, set[str]]:
    """The activation that a formula starts from: what all paths back from the seed meet in."""
    region: set[str] = set()
    sources: set[str] = set()
    waiting = [program.same(seed.refs[0])]
    while waiting:
        current = waiting.pop()
        node = program[current]
        if node.target in ELEMENTWISE and not _reads_weights(program, node):
            region.add(current)
            waiting += [program.same(name) for name in program.data_refs(node)]
        else:
            sources.add(current)
    if len(sources) != 1:
        return program.same(seed.refs[0]), set()
    return sources.pop(), region


def _region(program: Program, source: str, seeds: set[str]) -> set[str]:
    """Grow from the seed and from the source, which the last product reads once more."""
    region = grow(
        program, {source, *seeds}, lambda node, inside: _belongs(program, node, source, inside)
    )
    return region - {source}


def _belongs(program: Program, node: Node, source: str, region: set[str]) -> bool:
    """Whether an op reads only the region, the source and constants."""
    origins = {program.same(name) for name in program.data_refs(node)}
    if node.target in MOVEMENT:
        return program.same(node.name) in (source, *region)
    part = node.target in ELEMENTWISE and not _reads_weights(program, node)
    return part and origins <= {source, *region}


def _reads_weights(program: Program, node: Node) -> bool:
    others = [name for name in node.refs if name not in program.data]
    return any(program[name].numel > 1 for name in others)
