"""FlightLLM's published performance model: its programs, timed as its authors time them.

One core's program does the work of all; every duration is divided by what the cores do together.
All queues drain where units meet, so a step takes the sum of the spans of its units.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from plait.sim.compiler.instruction import LoadTarget, Path, Program, Queue
from plait.sim.compiler.published import units
from plait.sim.compiler.unit import Unit, closed
from plait.sim.families.breakdown import Breakdown
from plait.sim.families.sparse_dsp_times import (
    CLASSES,
    RUNGS,
    UnitTimes,
    breakdown_of,
    durations,
    rates,
)
from plait.sim.timeline.engine import Timeline, exposed, run

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["published", "timed"]


def published(workload: Workload, machine: SparseDsp) -> Breakdown:
    """Cost a step as the authors' simulator does."""
    rate = tuple(rates(machine).tolist())
    times = [
        unit_times(unit, timed(unit.program, rate), workload) for unit in units(workload, machine)
    ]
    return breakdown_of(workload, machine, times)


@functools.lru_cache(maxsize=64)  # most units of a decode step do not depend on its length
def timed(program: Program, rate: tuple[float, ...]) -> Timeline:
    """Run one unit with the SYS at its end; seconds, at rates as in `rates`."""
    program = closed(program)
    return run(program, durations(program, np.array(rate)))


def unit_times(unit: Unit, timeline: Timeline, workload: Workload) -> UnitTimes:
    """Sum up one run of a unit."""
    counts = timeline.program.counts()
    return UnitTimes(
        row=unit.row,
        count=unit.count,
        rungs=dict(zip(RUNGS, exposed(timeline, CLASSES).tolist(), strict=True)),
        busy=timeline.busy(),
        instructions=counts,
        traffic=_traffic(unit.program, str(workload.columns["kind"][unit.row]), workload.phase),
    )


def _traffic(program: Program, kind: str, phase: str) -> dict[str, float]:
    """Bytes moved for weights, keys and values, and everything else."""
    moves = np.isin(program["path"], (Path.ONE_CHANNEL, Path.ALL_CHANNELS, Path.CROSS_CHANNEL))
    size = np.where(moves, program["work"], 0.0)
    streamed = LoadTarget.A if phase == "decode" else LoadTarget.B
    # Concatenation is the one load of keys and values that goes elsewhere.
    is_concat = (
        kind == "attention" and not (program["queue"] == Queue.MV).any() and phase == "decode"
    )
    modes = (streamed, LoadTarget.GLOBAL) if is_concat else (streamed,)
    mine = (program["queue"] == Queue.LD) & np.isin(program["mode"], modes)
    name = {"linear": "weight_bytes", "attention": "kv_bytes"}.get(kind, "activation_bytes")
    found = dict.fromkeys(("weight_bytes", "activation_bytes", "kv_bytes"), 0.0)
    found[name] += float(size[mine].sum())
    found["activation_bytes"] += float(size[~mine].sum())
    return found
