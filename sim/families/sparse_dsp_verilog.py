"""The time of the machine's Verilog: the program that it runs, by the recurrence of its cycles.

A step is as many starts of the machine as its sections run; each takes what
`plait.sim.families.sparse_dsp_schedule` says, which equals the counter of the Verilog. A cycle has
the cause that the Verilog counts it for; those of fetching a segment are shared out by the words
that each unit has in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.sim.compiler.core import VerilogCore, core_of
from plait.sim.compiler.decode_step import compile_step
from plait.sim.compiler.instruction import INSTRUCTION_WORDS, Program, Queue
from plait.sim.compiler.relocatable import CoreUnit, port_words, segments
from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.families.memory_port import Memory
from plait.sim.families.sparse_dsp_schedule import Schedule, schedule
from plait.sim.families.sparse_dsp_times import bound_of, operations_of, roof_of
from plait.sim.timeline.engine import Timeline

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["CAUSES", "Run", "run_units", "verilog"]

CAUSES = ("fetch", "compute", "special", "load", "store", "schedule")
"""As the Verilog counts them, every cycle for the first that applies."""

_QUEUES_OF: Mapping[str, tuple[Queue, ...]] = {
    "compute": (Queue.MM, Queue.MV),
    "special": (Queue.MISC,),
    "load": (Queue.LD,),
    "store": (Queue.ST,),
}
_FETCH, _SCHEDULE = CAUSES.index("fetch"), CAUSES.index("schedule")


@dataclass(frozen=True)
class Run:
    """One start of the machine.

    Attributes:
        segments: of its program.
        times: when they run.
    """

    segments: tuple[Program, ...]
    times: Schedule

    def lines(self, clock_hz: float) -> list[Timeline]:
        """Give each segment with its fetch, in seconds from its begin."""
        found, at = [], 0
        for part, begin in zip(self.segments, self.times.begins, strict=True):
            chosen = slice(at, at + len(part))
            starts = (self.times.starts[chosen] - begin) / clock_hz
            ends = (self.times.ends[chosen] + 1 - begin) / clock_hz
            found.append(Timeline(part, starts, ends))
            at += len(part)
        return found

    def causes(self) -> NDArray[np.int64]:
        """Cycles of every unit by cause, int64 [units, causes]; they add up to those of the run."""
        times, queues = self.times, np.concatenate([part["queue"] for part in self.segments])
        cause = np.full(times.cycles + 1, _SCHEDULE)
        for name, members in reversed(list(_QUEUES_OF.items())):
            chosen = np.isin(queues, members)
            # A unit of the core is busy from the cycle after an instruction's start to its last.
            for start, end in zip(times.starts[chosen], times.ends[chosen], strict=True):
                cause[start + 1 : end + 1] = CAUSES.index(name)
        owner = self._owners(queues)
        units = owner.max() + 1
        places = (owner * len(CAUSES) + cause)[owner >= 0]
        table = np.bincount(places, minlength=units * len(CAUSES)).reshape(units, len(CAUSES))
        table[:, _FETCH] += self._fetches()
        return table

    def _owners(self, queues: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The unit of every cycle; -1 before the start and while a segment is fetched."""
        times = self.times
        ends = times.ends[queues == Queue.SYS] + 1
        owner = np.searchsorted(ends, np.arange(times.cycles + 1), side="right")
        # What follows the last SYS of a segment is still that unit's.
        lasts = np.cumsum([part.counts()["sys"] for part in self.segments]) - 1
        for last, after in zip(lasts, [*times.begins[1:], times.cycles + 1], strict=True):
            owner[ends[last] : after] = last
        for begin, running in zip([0, *times.begins[1:]], times.running, strict=True):
            owner[begin:running] = -1
        return owner

    def _fetches(self) -> NDArray[np.int64]:
        """Cycles of fetching, by unit, in whole cycles that add up."""
        sizes = np.array([INSTRUCTION_WORDS[queue] for queue in Queue])
        found = []
        for part, cycles in zip(self.segments, self.times.running - self.times.begins, strict=True):
            words = np.bincount(part["unit"], sizes[part["queue"]])
            shares = np.floor(np.cumsum(words) / words.sum() * cycles).astype(np.int64)
            found.append(np.diff(shares, prepend=0))
        return np.concatenate(found)


def run_units(units: Sequence[CoreUnit], core: VerilogCore, memory: Memory | None = None) -> Run:
    """Run a program of units, the core's way.

    Args:
        memory: latency and stalls; by default it never stalls.
    """
    parts = segments([(unit.name, unit.program) for unit in units], core)
    times = schedule(parts, [port_words(part) for part in parts], core.queue_depth, memory)
    return Run(parts, times)


def verilog(
    workload: Workload, machine: SparseDsp, kept: Mapping[str, NDArray[np.int64]] | None = None
) -> Breakdown:
    """Cost a decode step to the cycle; refuses what the Verilog lacks.

    Args:
        kept: as of `plait.sim.compiler.decode_step.compile_step`.
    """
    ops, core = len(workload), core_of(machine)
    rungs = {cause: np.zeros(ops, np.int64) for cause in CAUSES}
    traffic = {n: np.zeros(ops) for n in ("weight_bytes", "activation_bytes", "kv_bytes")}
    busy, counts = np.zeros(len(Queue)), np.zeros(len(Queue), np.int64)
    for section in compile_step(workload, machine, kept):
        run = run_units(section.units, core)
        rows = [unit.row for unit in section.units]
        for cause, cycles in zip(CAUSES, run.causes().T, strict=True):
            np.add.at(rungs[cause], rows, section.count * cycles)
        for unit in section.units:
            for name, size in unit.traffic.items():
                traffic[name][unit.row] += section.count * size
        for line in run.lines(machine.clock_hz):
            busy += section.count * np.array(list(line.busy().values()))
            counts += section.count * np.array(list(line.program.counts().values()))
    units: dict[str, float] = {}
    for queue in Queue:
        units[f"units.{queue.name.lower()}.seconds"] = float(busy[queue])
        units[f"units.{queue.name.lower()}.instructions"] = int(counts[queue])
    memory, compute = rungs["load"] + rungs["store"], rungs["compute"] + rungs["special"]
    return Breakdown(
        unit="cycles",
        rungs=rungs,
        bound=bound_of(memory, compute),
        columns={"operations": operations_of(workload), **traffic},
        totals={"memory_bytes": weight_and_kv_bytes(workload), **units},
        clock_hz=machine.clock_hz,
        roofs=(roof_of(machine),),
    )
