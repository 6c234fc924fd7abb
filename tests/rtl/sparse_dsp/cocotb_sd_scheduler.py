"""plait_sd_scheduler: instructions start when their queue, unit and tokens allow, to the cycle."""

from __future__ import annotations

import random
from collections import defaultdict, deque

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import packed, parameter, start

from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.instruction import Instruction, Program, Queue

UNITS = [queue for queue in Queue if queue != Queue.SYS]
MAX_WORDS = 7
LONGEST_WAIT = 3000  # cycles; all instructions of a test take fewer
DEPTH = parameter("QueueDepth", 8)


def draw(rng: random.Random, count: int) -> tuple[Program, list[int]]:
    """A program whose waits all have a release before them, and durations; MM never beside MV."""
    pending = dict.fromkeys(((a, b) for a in Queue for b in Queue if a != b), 0)
    rows, durations = [], []
    queues = [queue for queue in Queue if queue != Queue.MM]
    for index in range(count):
        queue = rng.choice(queues)
        wait = release = 0
        for other in queues:
            if other != queue and pending[other, queue] and rng.random() < 0.7:
                pending[other, queue] -= 1
                wait |= 1 << other
            if other != queue and rng.random() < 0.4:
                pending[queue, other] += 1
                release |= 1 << other
        length = 32 if queue in (Queue.LD, Queue.ST) else 0
        blocks = 0 if length or queue == Queue.SYS else index % 100 + 1
        rows.append(Instruction(queue, wait, release, length=length, k_blocks=blocks))
        durations.append(1 if queue == Queue.SYS else rng.randint(2, 12))
    return Program.of(rows), durations


class Units:
    """Stand for the five units: each is busy for the duration of the instruction it was given."""

    def __init__(self, dut, program: Program, durations: list[int]) -> None:
        self.dut, self.cycle = dut, 0
        self.left = {
            queue: [(i, durations[i]) for i in range(len(program)) if program["queue"][i] == queue]
            for queue in UNITS
        }
        self.until = dict.fromkeys(UNITS, 0)
        self.times: dict[int, tuple[int, int]] = {}

    async def run(self) -> None:
        dut = self.dut
        while True:
            ready = [self.cycle >= self.until[queue] for queue in UNITS]
            dut.unit_ready_i.value = packed(ready, 1)
            done = [self.cycle == self.until[q] - 1 and self.until[q] > 0 for q in UNITS]
            dut.unit_done_i.value = packed(done, 1)
            await ReadOnly()
            for place, queue in enumerate(UNITS):
                if dut.unit_start_o.value.to_unsigned() >> place & 1:
                    index, duration = self.left[queue].pop(0)
                    self.until[queue] = self.cycle + duration
                    self.times[index] = (self.cycle, self.cycle + duration)
            await RisingEdge(dut.clk_i)
            self.cycle += 1


async def push(dut, program: Program, units: Units) -> list[int]:
    """Offer the program, an instruction a cycle where there is room; give when each went in."""
    entered = []
    for index in range(len(program)):
        one = program.instruction(index)
        words = encode(Program.of([one])).tolist()
        dut.in_valid_i.value = 1
        dut.in_queue_i.value = int(one.queue)
        dut.in_words_i.value = packed(words + [0] * (MAX_WORDS - len(words)), 32)
        since = units.cycle
        while True:
            assert units.cycle - since < LONGEST_WAIT, "no room: the queues stand still"
            await ReadOnly()
            accepted, cycle = bool(dut.in_ready_o.value), units.cycle
            await RisingEdge(dut.clk_i)
            if accepted:
                entered.append(cycle)
                break
    dut.in_valid_i.value = 0
    return entered


def expected_times(
    program: Program, durations: list[int], first: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """When each instruction enters its queue, starts and ends, by the rules alone."""
    entered: list[int] = []
    times: list[tuple[int, int]] = []
    free = dict.fromkeys(Queue, 0)
    tokens: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    before: dict[int, list[int]] = defaultdict(list)
    for index in range(len(program)):
        one = program.instruction(index)
        enters = entered[-1] + 1 if entered else first
        if len(before[one.queue]) >= DEPTH:
            enters = max(enters, before[one.queue][-DEPTH] + 1)
        givers = [giver for giver in Queue if one.wait >> giver & 1]
        taken = [tokens[giver, one.queue].popleft() for giver in givers]
        start = max([enters + 1, free[one.queue], *taken])
        end = start + durations[index]
        for taker in Queue:
            if one.release >> taker & 1:
                tokens[one.queue, taker].append(end)
        free[one.queue] = end
        before[one.queue].append(start)
        entered.append(enters)
        times.append((start, end))
    return entered, times


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(seed=list(range(12)))
async def instructions_run_when_their_tokens_are_there(dut, seed: int) -> None:
    rng = random.Random(seed)
    program, durations = draw(rng, 5 if seed < 4 else 120)
    for name in ("in_valid_i", "in_queue_i", "in_words_i", "unit_ready_i", "unit_done_i"):
        getattr(dut, name).value = 0
    await start(dut)
    units = Units(dut, program, durations)
    cocotb.start_soon(units.run())
    entered = await push(dut, program, units)
    for _ in range(LONGEST_WAIT):
        await ReadOnly()
        if dut.idle_o.value:
            break
        await RisingEdge(dut.clk_i)
    assert dut.idle_o.value, "instructions are left"
    assert all(not left for left in units.left.values())
    wanted, times = expected_times(program, durations, entered[0])
    assert entered == wanted
    assert units.times == {
        index: time for index, time in enumerate(times) if program["queue"][index] != Queue.SYS
    }
