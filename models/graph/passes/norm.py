"""Norms written out: x * rsqrt(mean(x^2) + eps) * weight, and the same with the mean taken off."""

from __future__ import annotations

from plait.models.graph.passes.base import Match, fused, grow, only_output
from plait.models.graph.program import Node, Program
from plait.models.graph.vocabulary import ELEMENTWISE, MOVEMENT, NORM, REDUCTION

_MEANS = ("aten.mean", "aten.var", "aten.sum")
_ROOTS = ("aten.rsqrt", "aten.sqrt", "aten.pow")


def match(program: Program, node: Node) -> Match | None:
    """Match a norm op, or the region around a mean or variance over the last dimension."""
    if node.target in NORM:
        kind = "layer_norm" if "layer_norm" in node.target else "rms_norm"
        inputs = (node.refs[0], *_weights(program, [node.name]))
        return Match(frozenset({node.name}), node.name, inputs, {"function": kind})
    if node.target not in _MEANS or node.name not in program.data or node.shape[-1:] != (1,):
        return None
    source, before = _source(program, node)
    region = grow(program, before, lambda node, inside: _belongs(program, node, source, inside))
    output = only_output(program, region)
    if output is None or not any(program[name].target in _ROOTS for name in region):
        return None
    means = [name for name in region if program[name].target in REDUCTION]
    kind = "rms_norm" if len(means) == 1 and node.target != "aten.var" else "layer_norm"
    inputs = (source, *_weights(program, sorted(region)))
    return Match(frozenset(region), output, inputs, {"function": kind})


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.norm."""
    return fused(program, match, "plait.norm")


def _source(program: Program, mean: Node) -> tuple[str, set[str]]:
    """The activation that is normed, and the nodes between it and the mean."""
    region = {mean.name}
    current = program.same(mean.refs[0])
    while True:
        node = program[current]
        sources = {program.same(name) for name in program.data_refs(node)}
        unary = node.target in ("aten.pow", "aten.square", "aten.abs") or (
            node.target == "aten.mul" and len(program.data_refs(node)) == 2
        )
        if not unary or len(sources) != 1:
            return current, region
        region.add(current)
        current = sources.pop()


def _belongs(program: Program, node: Node, source: str, region: set[str]) -> bool:
    origins = {program.same(name) for name in program.data_refs(node)}
    if node.target in MOVEMENT:
        return origins <= region
    if node.target not in ELEMENTWISE | REDUCTION or not origins <= {source, *region}:
        return False
    others = [name for name in node.refs if name not in program.data]
    if node.target == "aten.add":  # a residual sum reads the source too, and is no part of it
        return source not in origins and all(program.parameters_behind(n) for n in others)
    return all(program.parameters_behind(name) or program[name].numel == 1 for name in others)


def _weights(program: Program, region: list[str]) -> list[str]:
    """The nodes of gain and bias."""
    read = [n for name in region for n in program[name].refs if n not in program.data]
    return list(dict.fromkeys(name for name in read if program.parameters_behind(name)))
