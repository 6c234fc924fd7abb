"""Rotary positions: channels turned by tables of cosines and sines.

A turn is ``a * cos + rotated(a) * sin`` (whole heads or halves of them), or a product of complex
numbers. `join` then puts halves, and the channels that are not turned, together again.
"""

from __future__ import annotations

from types import SimpleNamespace

from plait.models.graph.passes.base import Match, fused, only_output
from plait.models.graph.program import Node, Program
from plait.models.graph.vocabulary import MOVEMENT

_TURN = "plait.rope"


def match(program: Program, node: Node) -> Match | None:
    """Match a sum of two products with tables, both of the same activation."""
    if node.name not in program.data:
        return None
    if node.target == "aten.mul" and node.dtype == "complex" and len(program.data_refs(node)) == 1:
        source = program.origin(program.data_refs(node)[0])
        return Match(frozenset({node.name}), node.name, (source,), {"turned": 2 * node.numel})
    if node.target not in ("aten.add", "aten.sub") or len(program.data_refs(node)) != 2:
        return None
    arms = [_arm(program, name) for name in program.data_refs(node)]
    if None in arms or arms[0][1] != arms[1][1]:  # type: ignore[index]
        return None
    region = {node.name, *(step for arm in arms for step in arm[0])}  # type: ignore[index]
    region |= _views_inside(program, region)
    if only_output(program, region) != node.name:
        return None
    source = arms[0][1]  # type: ignore[index]
    return Match(frozenset(region), node.name, (source,), {"turned": node.numel})


def rewrite(program: Program, match: Match) -> list[Node]:
    """Replace by plait.rope."""
    return fused(program, match, _TURN)


def _arm(program: Program, name: str) -> tuple[list[str], str] | None:
    """The nodes of one product with a table, and the activation it turns."""
    steps: list[str] = []
    while program[name].target in (*MOVEMENT, "aten.neg"):  # -(x * sin), and casts
        steps.append(name)
        name = program.data_refs(program[name])[0]
    product = program[name]
    data = program.data_refs(product)
    if product.target != "aten.mul" or len(data) != 1 or not _is_table(program, product):
        return None
    turned, source = _rotated(program, data[0])
    return [*steps, name, *turned], source


def _views_inside(program: Program, region: set[str]) -> set[str]:
    """Views and casts that only carry a value from one node of the region to another."""
    return {
        user
        for name in region
        for user in program.users[name]
        if program[user].target in MOVEMENT and region.issuperset(program.users[user])
    }


def _is_table(program: Program, product: Node) -> bool:
    """Whether the other factor is a table of positions: a tensor made of no parameter."""
    others = [name for name in product.refs if name not in program.data]
    return bool(others) and all(
        program[name].numel > 1 and not program.parameters_behind(name) for name in others
    )


def _rotated(program: Program, name: str) -> tuple[list[str], str]:
    """The nodes that swap and negate halves, and the activation they start from."""
    steps: list[str] = []
    sources: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        node = program[current]
        joined = node.target in ("aten.cat", "aten.stack") and len(program.data_refs(node)) == 2
        if joined or node.target == "aten.neg":
            steps.append(current)
            waiting += program.data_refs(node)
        elif node.target in MOVEMENT:
            waiting += program.data_refs(node)[:1]
        else:
            sources[current] = None
    return steps, next(iter(sources)) if len(sources) == 1 else ""


def _match_join(program: Program, node: Node) -> Match | None:
    """Match a cat or stack of turned parts with each other or with channels that are not turned."""
    if node.target not in ("aten.cat", "aten.stack"):
        return None
    parts = [program.origin(name) for name in program.data_refs(node)]
    turned = list(dict.fromkeys(name for name in parts if program[name].target == _TURN))
    if not turned or len(parts) < 2:
        return None
    source = program[turned[0]].args["inputs"][0].name
    if any(_source(program, name) != source for name in parts):
        return None
    steps = [step for name in program.data_refs(node) for step in program.trail(name)[:-1]]
    private = {s for s in steps if set(program.users[s]) <= {node.name, *steps}}
    region = frozenset({node.name, *turned, *private})
    if only_output(program, region) != node.name:
        return None
    facts = {"turned": sum(program[name].args["turned"] for name in turned)}
    return Match(region, node.name, (source,), facts)


def _source(program: Program, name: str) -> str:
    """What a turned part was before; a part that is not turned is itself."""
    node = program[name]
    return node.args["inputs"][0].name if node.target == _TURN else name


join = SimpleNamespace(match=_match_join, rewrite=rewrite)
