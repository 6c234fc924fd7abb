"""Unit: the instructions between two joins of the queues, and how often they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plait.sim.compiler.instruction import Path, Program, Queue

__all__ = ["Unit", "closed", "whole"]


@dataclass(frozen=True)
class Unit:
    """One operation with what is fused into it.

    Attributes:
        name: such as "q_proj".
        row: the op of the workload that its time is charged to.
        count: how often a step runs it.
        program: its instructions, without the SYS at the end.
        layer: the one layer that runs it; None if all do.
    """

    name: str
    row: int
    count: int
    program: Program
    layer: int | None = None


def closed(program: Program, waits: bool = False, releases: bool = False) -> Program:
    """End a unit: its last instruction, a store, releases SYS, which is appended.

    Args:
        waits: the first instruction waits for the SYS of the unit before.
        releases: the SYS lets the loads of the next unit begin.
    """
    masks = {name: program[name].copy() for name in ("wait", "release")}
    masks["release"][-1] |= 1 << Queue.SYS
    if waits:
        masks["wait"][0] |= 1 << Queue.SYS
    columns = dict(program.columns) | masks
    end = {
        "queue": Queue.SYS,
        "wait": 1 << int(program["queue"][-1]),
        "release": int(releases) << Queue.LD,
        "work": 1.0,
        "path": Path.NONE,
    }
    joined = {
        name: np.append(values, np.array(end.get(name, 0), dtype=values.dtype))
        for name, values in columns.items()
    }
    return Program(joined, program.units)


def whole(units: Sequence[tuple[str, Program]]) -> Program:
    """Chain units, in the order in which they run, into the program of a step."""
    parts = []
    for index, (_, program) in enumerate(units):
        part = closed(program, waits=index > 0, releases=index < len(units) - 1)
        number = np.full(len(part), index, dtype=np.int32)
        parts.append(Program(dict(part.columns) | {"unit": number}))
    return Program.join(parts, tuple(name for name, _ in units))
