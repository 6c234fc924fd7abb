"""Durations of instructions on a sparse DSP machine, and units summed up as a Breakdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.sim.compiler.instruction import Path, Program, Queue
from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.spec.sparse_dsp import SparseDsp

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = [
    "CLASSES",
    "RUNGS",
    "UnitTimes",
    "bound_of",
    "breakdown_of",
    "durations",
    "operations_of",
    "rates",
    "roof_of",
]

RUNGS = ("compute", "load", "vector", "store", "synchronisation")
"""Causes of an op's time: products at work; else loads; else MISC; else stores; else nothing."""

CLASSES = ((Queue.MM, Queue.MV), (Queue.LD,), (Queue.MISC,), (Queue.ST,))
"""Queues of the first four causes."""


@dataclass(frozen=True, slots=True)
class UnitTimes:
    """One run of a unit.

    Attributes:
        row: op of the workload.
        count: runs in the step.
        rungs: cause -> seconds; they add up to the unit's span.
        busy: queue -> seconds.
        instructions: queue -> number.
        traffic: weight_bytes, activation_bytes, kv_bytes moved.
    """

    row: int
    count: int
    rungs: Mapping[str, float]
    busy: Mapping[str, float]
    instructions: Mapping[str, int]
    traffic: Mapping[str, float]


def rates(machine: SparseDsp, cores: float | None = None) -> NDArray[np.float64]:
    """Give work a second by `Path`: cycles for none, bytes for the others.

    Args:
        cores: how many cores' rates; by default what all do together, because the published model
            times the whole work as one core's program and divides.
    """
    memory = machine.memory
    same = memory.channel_bytes_per_s * memory.same_channel_efficiency
    one = np.zeros(len(Path))
    one[Path.NONE] = machine.clock_hz
    one[Path.ONE_CHANNEL] = same
    one[Path.ALL_CHANNELS] = same * memory.channels
    one[Path.CROSS_CHANNEL] = memory.channel_bytes_per_s * memory.cross_channel_efficiency
    # Zeros fill one entry of every channel of A in a cycle.
    one[Path.ZERO_FILL] = machine.clock_hz * machine.core.mm_rows * 16
    return one * (machine.cores.speed if cores is None else cores)


def durations(program: Program, rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the seconds of every instruction [instructions]; ``rate`` as from `rates`."""
    return program["work"] / rate[program["path"]]


def breakdown_of(workload: Workload, machine: SparseDsp, times: Sequence[UnitTimes]) -> Breakdown:
    """Add units up to ops, queues and the step."""
    ops = len(workload)
    rungs = {name: np.zeros(ops) for name in RUNGS}
    traffic = {n: np.zeros(ops) for n in ("weight_bytes", "activation_bytes", "kv_bytes")}
    memory, compute = np.zeros(ops), np.zeros(ops)
    totals = {}
    for queue in (queue.name.lower() for queue in Queue):
        totals[f"units.{queue}.seconds"] = float(sum(t.count * t.busy[queue] for t in times))
        totals[f"units.{queue}.instructions"] = sum(t.count * t.instructions[queue] for t in times)
    for unit in times:
        for name, seconds in unit.rungs.items():
            rungs[name][unit.row] += unit.count * seconds
        for name, size in unit.traffic.items():
            traffic[name][unit.row] += unit.count * size
        memory[unit.row] += unit.count * (unit.busy["ld"] + unit.busy["st"])
        compute[unit.row] += unit.count * (unit.busy["mm"] + unit.busy["mv"] + unit.busy["misc"])
    seconds = sum(float(values.sum()) for values in rungs.values())
    return Breakdown(
        unit="seconds",
        rungs=rungs,
        bound=bound_of(memory, compute),
        columns={"operations": operations_of(workload), **traffic},
        totals={
            "cycles": round(seconds * machine.clock_hz),
            "memory_bytes": weight_and_kv_bytes(workload),
            **totals,
        },
        roofs=(roof_of(machine),),
    )


def bound_of(memory: NDArray[Any], compute: NDArray[Any]) -> NDArray[np.object_]:
    """Say what each op waits for longer, memory or compute; "" if for neither [ops]."""
    bound = np.where(memory > compute, "memory", np.where(compute > 0, "compute", ""))
    return bound.astype(object)


def operations_of(workload: Workload) -> NDArray[np.float64]:
    """Give twice the multiply-adds [ops] that the model asks for, masked pairs left out."""
    c = workload.columns
    products = c["tokens"] * c["cin"] * c["cout"] * c["experts_touched"]
    attention = 2.0 * workload.batch * c["heads"] * c["pairs"] * c["head_dim"]
    attention = np.where(c["kind"] == "attention", attention, 0.0)
    return 2.0 * c["count"] * (products + attention)


def roof_of(machine: SparseDsp) -> tuple[str, float, float]:
    """Name, operations a second and bytes a second at best."""
    core = machine.core
    peak = 2.0 * core.chains * core.chain_dsps * core.pack * machine.clock_hz * machine.cores.speed
    return machine.name, peak, float(rates(machine)[Path.ALL_CHANNELS])
