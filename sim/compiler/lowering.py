"""UnitPlan -> instructions: loops unrolled, tokens set, buffers and memory addressed."""

from __future__ import annotations

from plait.errors import SpecError
from plait.sim.compiler.instruction import LoadTarget, Path, Program, Queue
from plait.sim.compiler.plan import Nest, Pass, Transfer, UnitPlan
from plait.sim.compiler.stream import Stream
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["LARGEST_PROGRAM", "instructions_of", "lower"]

LARGEST_PROGRAM = 1_000_000
"""Instructions of one unit that are worth unrolling."""

_B_ENTRIES_A_BLOCK = 8  # of MM: 16 x 16 values


def instructions_of(plan: UnitPlan, machine: SparseDsp) -> int:
    """Count the instructions of a unit roughly, without making them."""
    channels = machine.memory.channels
    total = 0
    for part in plan.parts:
        if isinstance(part, Nest):
            load = channels if part.path == Path.ALL_CHANNELS else 1
            piece = load + part.products + (channels if part.index_bytes else 0)
            after = len(part.misc) * part.products + 2 * channels
            total += part.repeats * (part.loads * piece + part.periods * after)
    return total


def lower(plan: UnitPlan, machine: SparseDsp) -> Program:
    """Unroll a unit; `plait.sim.compiler.unit.closed` ends it with its SYS."""
    if instructions_of(plan, machine) > LARGEST_PROGRAM:
        raise SpecError(
            f"more than {LARGEST_PROGRAM:,} instructions", where=plan.name,
            expected="a shorter context", hint="or fidelity closed_form",
        )  # fmt: skip
    return _Lowering(plan, machine).program()


class _Lowering:
    """The state while a unit is unrolled: where its weights are, which outputs are pending."""

    def __init__(self, plan: UnitPlan, machine: SparseDsp) -> None:
        self.plan, self.machine = plan, machine
        core = machine.core
        self.stream = Stream(core.passes, core.misc_lanes)
        self.channels = machine.memory.channels
        self.entry_bytes = core.mm_rows * 16 // self.channels
        self.address = 0
        nests = [part for part in plan.parts if isinstance(part, Nest)]
        held = max([1, *(nest.period * nest.products for nest in nests)])
        self.out_depth = max(1, machine.buffers.global_entries // held)
        self.periods = sum(nest.repeats * nest.periods for nest in nests)
        self.runs = sum(nest.repeats for nest in nests)
        self.run = self.done = 0

    def program(self) -> Program:
        """Unroll all parts."""
        last: Queue | None = None
        for part in self.plan.parts:
            if isinstance(part, Pass):
                last = self._pass(part)
            else:
                for _ in range(part.repeats):
                    last = self._nest(part)
        if self.plan.leave and last is not None:
            self.stream.widen(-1, release=[Queue.ST])
            self._store(self.plan.leave, [last])
        return self.stream.program()

    def _pass(self, part: Pass) -> Queue:
        if part.load:
            self._load(part.load, release=[Queue.MISC])
        for index, misc in enumerate(part.misc):
            wait = [Queue.LD] if part.load and index == 0 else []
            self.stream.misc(misc.operation, misc.k_blocks, wait, passes=misc.passes)
        if part.store:
            self.stream.widen(-1, release=[Queue.ST])
            self._store(part.store, [Queue.MISC])
            return Queue.ST
        return Queue.MISC

    def _nest(self, nest: Nest) -> Queue:
        self.run += 1
        begin = len(self.stream)
        for transfer in nest.enter:
            self._load(transfer)
        entered = len(self.stream)
        last = nest.queue
        count = 0
        for group in range(nest.groups):
            ends = (group + 1) % nest.period == 0 or group == nest.groups - 1
            for place in range(len(nest.pieces)):
                count += 1
                self._piece(nest, group, place, count)
            if ends:
                last = self._after(nest)
        # What enters overwrites what the run before still multiplies.
        first = begin if entered > begin else entered
        if self.run > 1:
            self.stream.widen(first, wait=[nest.queue])
        return last

    def _piece(self, nest: Nest, group: int, place: int, count: int) -> None:
        blocks = nest.pieces[place]
        part = nest.last_part if group == nest.groups - 1 else 1.0
        begin = len(self.stream)
        slot = (count - 1) % nest.depth
        target = LoadTarget.A if nest.queue == Queue.MV else LoadTarget.B
        if nest.vector_bytes:
            size = nest.vector_bytes * blocks
            self._load(Transfer(size, Path.ONE_CHANNEL, LoadTarget.B))
        if nest.index_bytes:
            size = nest.index_bytes * blocks * part
            self._load(Transfer(size, nest.path, LoadTarget.META))
        slot_entries = self._entries(nest, max(nest.pieces))
        bank = slot * slot_entries
        self._load(Transfer(nest.block_bytes * blocks * part, nest.path, target), bank=bank)
        self.stream.widen(begin, wait=[nest.queue] * (count > nest.depth))
        self.stream.widen(-1, release=[nest.queue])
        self._products(nest, group, place, count, bank)

    def _products(self, nest: Nest, group: int, place: int, count: int, bank: int) -> None:
        is_end = place == len(nest.pieces) - 1
        ends_period = is_end and ((group + 1) % nest.period == 0 or group == nest.groups - 1)
        more = count + nest.depth <= nest.loads
        more |= count == nest.loads and self.run < self.runs
        begins_period = place == 0 and group % nest.period == 0
        drain = self.machine.core.drain_cycles if is_end else 0
        first_block = sum(nest.pieces[:place])
        for product in range(nest.products):
            wait, release = [], []
            if product == 0:
                wait = [Queue.LD]
                if begins_period and nest.store and self.done >= self.out_depth:
                    wait.append(Queue.ST)
            if product == nest.products - 1:
                release = [Queue.LD] * more
                if ends_period and (nest.misc or nest.store):
                    release.append(Queue.MISC if nest.misc else Queue.ST)
            addresses = {"a_address": bank, "b_address": first_block}
            if nest.queue == Queue.MM:
                kb = sum(nest.pieces)
                addresses = {"a_address": product * kb + first_block, "b_address": bank}
            self.stream.multiply(
                nest.queue, nest.pieces[place], nest.density, wait, release, output=int(is_end),
                bias=int(nest.has_bias and place == 0), relu=int(nest.has_relu and is_end),
                out_address=(group % nest.period * nest.products + product)
                % self.machine.buffers.global_entries,
                **addresses,
            )  # fmt: skip
            self.stream.rows[-1]["work"] += drain

    def _after(self, nest: Nest) -> Queue:
        """Vector work and store of one period; says which queue ends it."""
        self.done += 1
        last = nest.queue
        if nest.operand:
            self._load(nest.operand, release=[Queue.MISC])
        for product in range(nest.products):
            for index, misc in enumerate(nest.misc):
                is_first = product == index == 0
                wait = [nest.queue, *[Queue.LD] * bool(nest.operand)] if is_first else []
                self.stream.misc(misc.operation, misc.k_blocks, wait, passes=misc.passes)
                last = Queue.MISC
        if nest.store:
            if nest.misc:
                self.stream.widen(-1, release=[Queue.ST])
            self._store(nest.store, [last])
            if self.done + self.out_depth <= self.periods:
                self.stream.widen(-1, release=[nest.queue])
            last = Queue.ST
        return last

    def _entries(self, nest: Nest, blocks: int) -> int:
        """Entries of a channel that so many K blocks of weights take."""
        if nest.queue == Queue.MM:
            return _B_ENTRIES_A_BLOCK * blocks
        return -(-int(-(-nest.block_bytes * blocks // self.channels)) // self.entry_bytes)

    def _load(self, transfer: Transfer, bank: int = 0, release: list[Queue] | None = None) -> None:
        rows = transfer.rows(self.channels)
        for index, (channel, size) in enumerate(rows):
            is_last = index == len(rows) - 1
            self.stream.ld(
                size, transfer.path, release=(release or []) if is_last else [],
                mode=transfer.target, channel=channel, bank_address=bank, address=self.address,
            )  # fmt: skip
            self.address += round(size)

    def _store(self, transfer: Transfer, wait: list[Queue]) -> None:
        for index, (channel, size) in enumerate(transfer.rows(self.channels)):
            self.stream.st(
                size, transfer.path, wait if index == 0 else [], channel=channel,
                address=self.address,
            )  # fmt: skip
            self.address += round(size)
