"""How a pass works: `match` finds a region of a program, `rewrite` gives what replaces it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from plait.models.graph.program import Node, Program, Ref
from plait.models.graph.vocabulary import MOVEMENT

__all__ = ["Match", "Pass", "fused", "grow", "only_output", "run"]


@dataclass(frozen=True, slots=True)
class Match:
    """A region that is one op.

    Attributes:
        region: names of its nodes; ``output`` is the one whose value is used outside.
        inputs: names of the nodes outside that feed it.
        facts: arguments of the node that replaces it.
    """

    region: frozenset[str]
    output: str
    inputs: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Pass(Protocol):
    """A module of plait.models.graph.passes."""

    def match(self, program: Program, node: Node) -> Match | None:
        """Return the region around ``node`` if it is this pass's op."""

    def rewrite(self, program: Program, match: Match) -> list[Node]:
        """Return the nodes that stand for the region, each at the place of its namesake."""


def run(program: Program, one: Pass) -> Program:
    """Apply a pass to every node; regions never overlap, the first found wins."""
    removed: set[str] = set()
    replaced: dict[str, Node] = {}
    for node in program.nodes.values():
        match = one.match(program, node)
        if match is None or match.region & removed:
            continue
        removed |= match.region
        replaced |= {new.name: new for new in one.rewrite(program, match)}
    return program.replaced(removed, replaced).verify() if replaced else program


def fused(program: Program, match: Match, target: str) -> list[Node]:
    """One node for a match: placed like the region's output, fed by the region's inputs."""
    output = program[match.output]
    args = {"inputs": [Ref(name) for name in match.inputs], **match.facts}
    return [Node(output.name, target, args, output.shape, output.dtype, output.path)]


def only_output(program: Program, region: Iterable[str]) -> str | None:
    """The one node of a region that is used outside it; None if there are several."""
    inside = set(region)
    outputs = [
        name
        for name in inside
        if name in program.outputs or not inside.issuperset(program.users[name])
    ]
    return outputs[0] if len(outputs) == 1 else None


def grow(
    program: Program, seeds: Iterable[str], joins: Callable[[Node, set[str]], bool]
) -> set[str]:
    """Follow values forward through the activations that ``joins(node, region)`` lets in.

    Movement at the end is left out again: it belongs to whoever reads the result.
    """
    region = set(seeds)
    waiting = list(region)
    while waiting:
        for user in program.users[waiting.pop()]:
            if user in program.data and user not in region and joins(program[user], region):
                region.add(user)
                waiting.append(user)
    while ends := {name for name in region if _is_loose_end(program, name, region)}:
        region -= ends
    return region


def _is_loose_end(program: Program, name: str, region: set[str]) -> bool:
    return program[name].target in MOVEMENT and not region & set(program.users[name])
