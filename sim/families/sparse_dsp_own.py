"""Our own model of a sparse DSP machine: the programs of our compiler, timed or added up.

How it differs from the published model; `differences` measures what each is worth:

- keys and values are read once a step, by the attention itself, not also by a concatenation;
- places of kept weights travel with them: a 16-bit mask (or 4 bits each) and a byte a block;
- decode keeps vectors in the core between operations (``storage.always_on_chip``);
- a sum takes ``core.drain_cycles`` from its last operands to its result;
- prefill loads a weight once for all row tiles that fit (``storage.weight_reuse``), over the core's
  own channel, and its vector work costs every element;
- prefill attends to all of the causal triangle; decode runs the length asked for, not a bucket;
- each core does whole blocks of 16 outputs and whole KV heads: the busiest one is timed, at the
  rate that ``cores.efficiency`` leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plait.sim.compiler.instruction import Path, Queue
from plait.sim.compiler.limits import check
from plait.sim.compiler.lowering import lower
from plait.sim.compiler.own import plans
from plait.sim.compiler.plan import Misc, Nest, Pass, Transfer, UnitPlan
from plait.sim.compiler.unit import closed
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

__all__ = ["closed_form", "run_plan", "timeline"]

_SETTLED = 4  # groups over which a group's time is averaged


def timeline(workload: Workload, machine: SparseDsp) -> Breakdown:
    """Cost a step by running its programs, unit after unit."""
    found: dict[object, Timeline] = {}
    times = []
    for plan in plans(workload, machine):
        key = (plan.parts, plan.leave)
        if key not in found:
            found[key] = run_plan(plan, machine)
        line = found[key]
        rungs = exposed(line, CLASSES).tolist()
        times.append(
            UnitTimes(
                plan.row, plan.count, dict(zip(RUNGS, rungs, strict=True)), line.busy(),
                line.program.counts(), _traffic(plan, machine),
            )
        )  # fmt: skip
    return breakdown_of(workload, machine, times)


def run_plan(plan: UnitPlan, machine: SparseDsp) -> Timeline:
    """Compile and run one unit, in seconds of one core."""
    program = check(closed(lower(plan, machine)), machine)
    rate = rates(machine, machine.cores.efficiency)
    issue = machine.core.issue_cycles / rate[Path.NONE]
    return run(program, durations(program, rate), issue)


def closed_form(workload: Workload, machine: SparseDsp) -> Breakdown:
    """Cost a step by adding up what its programs do."""
    times = [_ClosedForm(plan, machine).times() for plan in plans(workload, machine)]
    return breakdown_of(workload, machine, times)


class _ClosedForm:
    """One unit: loads and products overlap, the first load and the last results do not."""

    def __init__(self, plan: UnitPlan, machine: SparseDsp) -> None:
        self.plan, self.machine = plan, machine
        self.rate = rates(machine, machine.cores.efficiency)
        self.cycle = 1 / float(self.rate[Path.NONE])
        self.issue = machine.core.issue_cycles * self.cycle
        self.channels = machine.memory.channels
        self.busy = dict.fromkeys((queue.name.lower() for queue in Queue), 0.0)
        self.counts = dict.fromkeys(self.busy, 0)

    def times(self) -> UnitTimes:
        """Sum up the unit."""
        begin, span, vector, store = 0.0, 0.0, 0.0, 0.0
        for part in self.plan.parts:
            if isinstance(part, Pass):
                load, vector, store = self._pass(part)
                span += load
                begin += load
            else:
                first, one, vector, store = self._nest(part)
                span += part.repeats * one
                begin = begin or first
        if self.plan.leave:
            store = self._moved("st", self.plan.leave)
        # Vector work and stores overlap with products, but no queue does more than it can.
        span = max(span, begin + self.busy["misc"] - vector, begin + self.busy["st"] - store)
        self.counts["sys"] += 1
        self.busy["sys"] += self.cycle + self.issue
        compute = self.busy["mm"] + self.busy["mv"]
        rungs = (compute, max(span - compute, 0.0), vector, store, self.busy["sys"])
        return UnitTimes(
            self.plan.row, self.plan.count, dict(zip(RUNGS, rungs, strict=True)), self.busy,
            self.counts, _traffic(self.plan, self.machine),
        )  # fmt: skip

    def _moved(self, queue: str, transfer: Transfer | None, times: int = 1) -> float:
        """Count a load or store; give its seconds once."""
        if transfer is None:
            return 0.0
        rows = len(transfer.rows(self.channels))
        seconds = transfer.size_bytes / float(self.rate[transfer.path]) + rows * self.issue
        self.busy[queue] += times * seconds
        self.counts[queue] += times * rows
        return seconds

    def _worked(self, misc: Iterable[Misc], times: int = 1) -> float:
        """Count vector work; give its seconds once."""
        items = list(misc)
        lanes = self.machine.core.misc_lanes
        cycles = sum(item.passes * item.k_blocks * 16 / lanes for item in items)
        seconds = cycles * self.cycle + len(items) * self.issue
        self.busy["misc"] += times * seconds
        self.counts["misc"] += times * len(items)
        return seconds

    def _pass(self, part: Pass) -> tuple[float, float, float]:
        load = self._moved("ld", part.load)
        return load, self._worked(part.misc), self._moved("st", part.store)

    def _nest(self, nest: Nest) -> tuple[float, float, float, float]:
        """Seconds until the first period's sums, of one run, of the last vector work and store."""
        repeats, core = nest.repeats, self.machine.core
        enter = sum(self._moved("ld", transfer, repeats) for transfer in nest.enter)
        full = [self._piece(nest, p, 1.0, (nest.groups - 1) * repeats) for p in nest.pieces]
        part = [self._piece(nest, p, nest.last_part, repeats) for p in nest.pieces]
        operand = self._moved("ld", nest.operand, repeats * nest.periods)
        name = nest.queue.name.lower()
        cycles = [core.passes * p * nest.density for p in nest.pieces]
        cycles[-1] += core.drain_cycles
        each = [nest.products * (c * self.cycle + self.issue) for c in cycles]
        compute = nest.groups * sum(each)
        self.busy[name] += repeats * compute
        self.counts[name] += repeats * nest.loads * nest.products
        vector = nest.products * self._worked(nest.misc, repeats * nest.periods * nest.products)
        store = self._moved("st", nest.store, repeats * nest.periods)
        first = part[0] if nest.groups == 1 else full[0]
        begin = enter + first + compute / nest.periods
        span = enter + _overlapped(nest, full, part, each, operand / nest.period)
        return begin, span, vector, store

    def _piece(self, nest: Nest, blocks: int, part: float, times: int) -> float:
        """Load of one piece, places and vector included."""
        size = nest.block_bytes * blocks * part
        seconds = self._moved("ld", Transfer(size, nest.path), times)
        if nest.index_bytes:
            size = nest.index_bytes * blocks * part
            seconds += self._moved("ld", Transfer(size, nest.path), times)
        if nest.vector_bytes:
            size = nest.vector_bytes * blocks
            seconds += self._moved("ld", Transfer(size, Path.ONE_CHANNEL), times)
        return seconds


def _overlapped(
    nest: Nest, full: list[float], last: list[float], products: list[float], operand: float
) -> float:
    """Time from the first load to the last product, `depth` pieces loaded ahead.

    Groups but the last are alike: after a few of them every group takes as long as the one before,
    so the rest is not run but added.
    """
    depth = nest.depth
    loaded, ends = 0.0, [0.0] * depth  # of the latest products, the oldest first
    alike = nest.groups - 1
    run = min(alike, -(-depth // len(full)) + 2 * _SETTLED)
    marks: list[float] = []
    for group in range(run + 1):
        if group == run and alike > run:
            slope = (marks[-1] - marks[-1 - _SETTLED]) / _SETTLED
            skipped = slope * (alike - run)
            loaded, ends = loaded + skipped, [end + skipped for end in ends]
        for load, product in zip(last if group == run else full, products, strict=True):
            loaded = max(loaded, ends[0]) + load
            ends = [*ends[1:], max(ends[-1], loaded) + product]
        loaded += operand
        marks.append(ends[-1])
    return ends[-1]


def _traffic(plan: UnitPlan, machine: SparseDsp) -> dict[str, float]:
    """Bytes that all cores move, each as much as the busiest."""
    streamed = other = 0.0
    for part in plan.parts:
        if isinstance(part, Pass):
            other += _size(part.load) + _size(part.store)
            continue
        groups = part.groups - 1 + part.last_part
        blocks = sum(part.pieces)
        streamed += part.repeats * groups * blocks * (part.block_bytes + part.index_bytes)
        once = sum(_size(transfer) for transfer in part.enter)
        once += part.groups * blocks * part.vector_bytes
        other += part.repeats * (once + part.periods * (_size(part.operand) + _size(part.store)))
    other += _size(plan.leave)
    found = {"weight_bytes": 0.0, "activation_bytes": other, "kv_bytes": 0.0}
    found[plan.streamed] += streamed
    return {name: size * machine.cores.count for name, size in found.items()}


def _size(transfer: Transfer | None) -> float:
    return transfer.size_bytes if transfer else 0.0
