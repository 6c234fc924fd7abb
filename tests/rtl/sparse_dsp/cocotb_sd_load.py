"""plait_sd_load: rows with three strides, zeros, several instructions on their way."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge, Timer
from harness import packed, parameter, pauses, start

from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.instruction import Instruction, LoadTarget, Program, Queue

PORT_BYTES = parameter("PortBits", 256) // 8
WRAP = 1 << 34  # of byte addresses: a stride may go back


def content(address: int) -> int:
    """What memory holds at a word."""
    return random.Random(address).getrandbits(8 * PORT_BYTES)


def draw(rng: random.Random) -> Instruction:
    loops = [rng.choice([0, 1, 2, 3]) for _ in range(3)]
    strides = [rng.choice([1, 5, -3]) * PORT_BYTES % WRAP for _ in range(3)]
    return Instruction(
        Queue.LD, mode=rng.choice(list(LoadTarget)), channel=rng.randrange(8),
        bank_address=rng.randrange(4096), address=rng.randrange(1000, 1 << 20) * PORT_BYTES,
        stride_1d=strides[0], stride_2d=strides[1], stride_3d=strides[2],
        loops_1d=loops[0], loops_2d=loops[1], loops_3d=loops[2],
        length=rng.randint(1, 5) * PORT_BYTES, zero_fill=int(rng.random() < 0.2),
    )  # fmt: skip


def rows(one: Instruction) -> list[int]:
    """First words of the rows, in order."""
    counts = [max(1, n) for n in (one.loops_1d, one.loops_2d, one.loops_3d)]
    return [
        (one.address + i * one.stride_1d + j * one.stride_2d + k * one.stride_3d)
        % WRAP // PORT_BYTES
        for k in range(counts[2]) for j in range(counts[1]) for i in range(counts[0])
    ]  # fmt: skip


def writes(one: Instruction) -> list[tuple[int, int, int, int]]:
    words = one.length // PORT_BYTES
    found = []
    for number, row in enumerate(rows(one)):
        for word in range(words):
            entry = (one.bank_address + number * words + word) % 4096
            data = 0 if one.zero_fill else content(row + word)
            found.append((one.mode, one.channel, entry, data))
    return found


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def writes_are_those_of_the_rows(dut, idle: float, stall: float) -> None:
    rng = random.Random(int(10 * idle) + int(stall * 100))
    program = [draw(rng) for _ in range(40)]
    for name in ("start_i", "job_ready_i", "word_valid_i"):
        getattr(dut, name).value = 0
    await start(dut)
    waiting, words, seen, done = list(program), [], [], 0
    late, slow = pauses(idle, 1), pauses(stall, 2)
    is_shown = False
    for _ in range(20000):
        dut.job_ready_i.value = not next(slow)
        is_shown = is_shown or (bool(words) and not next(slow))
        dut.word_valid_i.value = is_shown
        if is_shown:
            dut.word_data_i.value = content(words[0])
        dut.start_i.value = 0
        await Timer(1, unit="ns")  # ready_o settles; it does not see start_i
        if waiting and dut.ready_o.value and not next(late):
            dut.load_i.value = packed(encode(Program.of([waiting.pop(0)])).tolist(), 32)
            dut.start_i.value = 1
        await ReadOnly()
        if dut.write_enable_o.value:
            names = ("mode", "channel", "address", "data")
            seen.append(
                tuple(getattr(dut, f"write_{name}_o").value.to_unsigned() for name in names)
            )
        if is_shown and dut.word_ready_o.value:
            words.pop(0)
            is_shown = False
        if dut.job_valid_o.value and dut.job_ready_i.value:
            address = dut.job_address_o.value.to_unsigned()
            words.extend(address + i for i in range(dut.job_words_o.value.to_unsigned()))
        done += int(dut.done_o.value)
        await RisingEdge(dut.clk_i)
        if done == len(program):
            break
    assert done == len(program), "hangs"
    assert seen == [write for one in program for write in writes(one)]
