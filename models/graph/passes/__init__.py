"""Passes from a torch.export program to the few kinds of a Graph, one rewrite a file.

Each pass has `match(program, node) -> Match | None` and `rewrite(program, match) -> list[Node]`;
`Program.verify` runs after each. The order matters: attention before the activation pass, which
would take a soft cap on the scores for itself; rope before norm, since a norm over query heads is
followed by rope.
"""

from __future__ import annotations

from plait.models.graph.passes import activation, attention, experts, norm, rope, routing
from plait.models.graph.passes.base import run
from plait.models.graph.program import Program

__all__ = ["PASSES", "recognise"]

PASSES = (experts, attention, rope, rope.join, norm, routing, activation)


def recognise(program: Program) -> Program:
    """Run all passes in order."""
    for one in PASSES:
        program = run(program, one)
    return program
