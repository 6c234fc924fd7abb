"""Grouped linears of a mixture of experts.

Four spellings: our `plait::grouped_linear` (and its quantised twin); `grouped_mm` over rows sorted
by expert (transformers); `bmm` with weights gathered by the experts' numbers; a product with the
stacked weights of all experts, each row visiting every one.
"""

from __future__ import annotations

from plait.errors import GraphError
from plait.models.graph.passes.base import Match, fused
from plait.models.graph.program import Node, Program

GROUPED_MM = ("aten._grouped_mm", "transformers.grouped_mm_fallback")


def match(program: Program, node: Node) -> Match | None:
    """Match a product with stacked weights [experts, ., .]."""
    if node.target == "plait.qgrouped_linear":
        return _quantised(program, node)
    if node.target == "plait.grouped_linear":
        return _matched(program, node, node.ref("inputs"), node.ref("weight"))
    if node.target in GROUPED_MM:
        rows, weight = list(node.refs)[:2]
        return _matched(program, node, rows, weight)
    if node.target in ("aten.bmm", "aten.matmul"):
        rows, weight = _product(program, node)
        return _matched(program, node, rows, weight) if weight else None
    return None


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.experts."""
    return fused(program, match, "plait.experts")


def _quantised(program: Program, node: Node) -> Match:
    """Stacked matrices quantised as one of all their rows."""
    cin, experts = node.args["cin"], node.args["experts"]
    cout = node.args["cout"] // experts
    kept = {name: node.args[name] for name in ("format", "bits_per_weight", "group_size")}
    facts = {"cin": cin, "cout": cout, "experts": experts, "rows": node.numel // cout, **kept}
    return Match(frozenset({node.name}), node.name, (node.ref("inputs"),), facts)


def _product(program: Program, node: Node) -> tuple[str, str]:
    """The activations and the stacked weight of a bmm; ('', '') if it has none."""
    data, other = program.data_refs(node), [n for n in node.refs if n not in program.data]
    if len(data) != 1 or len(other) != 1:
        return "", ""
    stacked = [p for p in program.parameters_behind(other[0]) if len(program[p].shape) == 3]
    return (data[0], other[0]) if stacked else ("", "")


def _matched(program: Program, node: Node, rows: str, weight: str) -> Match:
    behind = program.parameters_behind(weight)
    stacked = [name for name in behind if len(program[name].shape) == 3]
    if len(stacked) != 1:
        raise GraphError(
            "experts whose weights are not one parameter",
            where=node.place,
            got=[program[name].shape for name in behind],
            expected="[experts, cout, cin]",
        )
    experts, *matrix = program[stacked[0]].shape
    cin, cout = _sides(matrix, program[rows].numel, node)
    facts = {"cin": cin, "cout": cout, "experts": experts, "rows": node.numel // cout}
    return Match(frozenset({node.name}), node.name, (rows, weight), facts)


def _sides(matrix: list[int], entered: int, node: Node) -> tuple[int, int]:
    """Which side of a stored matrix is cin: the one whose share of the activations fits."""
    for cin, cout in (matrix[::-1], matrix):
        if entered * cout == node.numel * cin:
            return cin, cout
    cout = node.shape[-1]  # the rows are broadcast to all experts
    return matrix[0] if matrix[1] == cout else matrix[1], cout
