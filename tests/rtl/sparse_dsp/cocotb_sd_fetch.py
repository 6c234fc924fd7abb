"""plait_sd_fetch: segments out of memory, instructions in their order and cycles, bad programs."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import packed, parameter, pauses, start, unpacked

from plait.hwgen.sparse_dsp.link import SEGMENT_MAGIC
from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.instruction import Instruction, Program, Queue

PORT_BITS, LONGEST = parameter("PortBits", 256), parameter("BufferWords", 1024)
PIECES, MAX_WORDS = PORT_BITS // 32, 7
AT = 1000
IDLE, RUN = 0, 5  # of state_o


def draw(rng: random.Random, count: int) -> list[tuple[int, list[int]]]:
    """Queue and words of some instructions."""
    found = []
    for _ in range(count):
        queue = rng.choice(list(Queue))
        length = 32 * rng.randint(1, 9) if queue in (Queue.LD, Queue.ST) else 0
        blocks = 0 if length or queue == Queue.SYS else rng.randint(1, 99)
        address = 32 * rng.randrange(999) if length else 0
        one = Instruction(queue, length=length, k_blocks=blocks, address=address)
        found.append((int(queue), encode(Program.of([one])).tolist()))
    return found


def segment(code: list[int], is_last: bool, **wrong: int) -> list[int]:
    """Port words of a header and its instructions."""
    padded = code + [0] * (-len(code) % PIECES)
    body = [packed(padded[i : i + PIECES], 32) for i in range(0, len(padded), PIECES)]
    header = {"magic": SEGMENT_MAGIC, "ports": len(body), "words": len(code)} | wrong
    return [packed([header["magic"], header["ports"], header["words"], int(is_last)], 32), *body]


class Memory:
    """Answers one job at a time, a word a cycle but for pauses; keeps the jobs."""

    def __init__(self, dut, words: list[int], stall: float) -> None:
        self.dut, self.words, self.pause = dut, words, pauses(stall, 5)
        self.jobs: list[tuple[int, int]] = []

    async def run(self) -> None:
        dut, left, at = self.dut, 0, 0
        while True:
            sends = left > 0 and not next(self.pause)
            dut.word_valid_i.value = sends
            dut.word_data_i.value = self.words[at] if sends else 0
            dut.job_ready_i.value = left == 0 and not next(self.pause)
            await ReadOnly()
            taken = bool(dut.job_valid_o.value) and bool(dut.job_ready_i.value)
            job = dut.job_address_o.value, dut.job_words_o.value
            await RisingEdge(dut.clk_i)
            left, at = left - sends, at + sends
            if taken:
                address, left = job[0].to_unsigned(), job[1].to_unsigned()
                at = address - AT
                self.jobs.append((address, left))


async def run(dut, words: list[int], stall: float) -> tuple[list[tuple[int, list[int]]], bool, int]:
    """One program: its instructions, whether it was called bad, its cycles of running."""
    dut.start_i.value = dut.word_valid_i.value = dut.job_ready_i.value = 0
    dut.queues_idle_i.value = dut.instruction_ready_i.value = 0
    await start(dut)
    memory = Memory(dut, words, stall)
    cocotb.start_soon(memory.run())
    dut.address_i.value = AT
    dut.start_i.value = 1
    found: list[tuple[int, list[int]]] = []
    pause, is_bad, running, busy = pauses(stall, 6), False, 0, 0
    for cycle in range(20_000):
        ready = not next(pause)
        dut.instruction_ready_i.value = ready
        # the queues run empty seven cycles behind the last instruction
        dut.queues_idle_i.value = busy == 0
        await ReadOnly()
        is_bad |= bool(dut.is_bad_o.value)
        running += int(dut.state_o.value) == RUN
        done = bool(dut.done_o.value)
        takes = bool(dut.instruction_valid_o.value) and ready
        if takes:
            held = unpacked(dut.instruction_words_o.value.to_unsigned(), 32, MAX_WORDS)
            found.append((dut.instruction_queue_o.value.to_unsigned(), held))
        assert not (done and busy), "ends while instructions run"
        await RisingEdge(dut.clk_i)
        dut.start_i.value = 0
        busy = 7 if takes else max(0, busy - 1)
        if done:
            await ReadOnly()
            assert int(dut.state_o.value) == IDLE, cycle
            await RisingEdge(dut.clk_i)
            return found, is_bad, running
    raise AssertionError("hangs")


@cocotb.test(timeout_time=9, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def instructions_of_all_segments(dut, stall: float) -> None:
    rng = random.Random(9)
    parts = [draw(rng, count) for count in (1, 23, 5)]
    while sum(len(words) for _, words in parts[1]) > LONGEST * PIECES:
        parts[1].pop()
    memory: list[int] = []
    for index, part in enumerate(parts):
        words = [word for _, each in part for word in each]
        memory += segment(words, is_last=index == len(parts) - 1)
    found, is_bad, running = await run(dut, memory, stall)
    wanted = [one for part in parts for one in part]
    assert len(found) == len(wanted)
    for (queue, words), one in zip(found, wanted, strict=True):
        assert (queue, words[: len(one[1])]) == one
    assert not is_bad
    if not stall:
        count = sum(len(words) for _, words in wanted)
        assert running == count + len(parts) * (1 + 7 + 1)  # first word, queues, end of a segment


@cocotb.test(timeout_time=9, timeout_unit="ms")
async def bad_programs(dut) -> None:
    """A wrong header ends the run at once; an unknown opcode is passed over and told."""
    sys = encode(Program.of([Instruction(Queue.SYS)])).tolist()
    wrong = [
        {"magic": SEGMENT_MAGIC ^ 1}, {"ports": 0}, {"ports": LONGEST + 1}, {"words": 0},
        {"words": PIECES + 1},
    ]  # fmt: skip
    for header in wrong:
        found, is_bad, running = await run(dut, segment(sys, True, **header), 0.0)
        assert (found, is_bad, running) == ([], True, 0), header
    for opcode in (0, 6, 7, 14):
        found, is_bad, _ = await run(dut, segment([opcode << 28, *sys], True), 0.0)
        assert is_bad, opcode
        assert [queue for queue, _ in found] == [int(Queue.SYS)]
