"""plait_bs_activation_buffer: the image of activations comes out step by step; no NaN does."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, pauses, start
from port_memory import load_cases

COLUMNS, LANES = parameter("Columns", 4), parameter("Lanes", 4)
PORT_BITS = parameter("PortBits", 256)


async def begin(dut) -> None:
    for name in ("clear_i", "word_valid_i", "read_i", "is_int8_i"):
        getattr(dut, name).value = 0
    await start(dut)


async def write(dut, words: list[int], is_int8: bool, pause) -> list[bool]:
    """Clear and write; give whether each word was reported."""
    dut.clear_i.value = 1
    dut.is_int8_i.value = int(is_int8)
    await RisingEdge(dut.clk_i)
    dut.clear_i.value = 0
    reported = []
    for word in words:
        while next(pause):
            await RisingEdge(dut.clk_i)
        dut.word_valid_i.value = 1
        dut.word_data_i.value = word
        await RisingEdge(dut.clk_i)
        dut.word_valid_i.value = 0
        await ReadOnly()
        reported.append(bool(dut.non_finite_o.value))
        await RisingEdge(dut.clk_i)
    return reported


async def read(dut, steps: list[int], pause) -> list[int]:
    """Read steps, one a cycle where the pause allows it; data follow by two cycles."""
    due: dict[int, int] = {}
    seen: list[int] = []
    cycle = position = 0
    while len(seen) < len(steps):
        reads = position < len(steps) and not next(pause)
        dut.read_i.value = int(reads)
        if reads:
            dut.step_i.value = steps[position]
            due[cycle + 2] = position
            position += 1
        await ReadOnly()
        if cycle in due:
            seen.append(dut.activations_o.value.to_unsigned())
        await RisingEdge(dut.clk_i)
        cycle += 1
    dut.read_i.value = 0
    return seen


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def steps_come_out_as_they_went_in(dut, idle: float, stall: float) -> None:
    await begin(dut)
    for case in load_cases():
        expected = case["steps"]
        assert not any(await write(dut, case["words"], case["is_int8"], pauses(idle, 2)))
        count = len(expected)
        order = [*range(count), *random.Random(3).sample(range(count), count)]
        assert await read(dut, order, pauses(stall, 4)) == [expected[i] for i in order]
        await ReadOnly()
        # The last case of each kind fills the buffer.
        assert dut.capacity_o.value.to_unsigned() >= len(case["words"])
        await RisingEdge(dut.clk_i)
    assert dut.capacity_o.value.to_unsigned() == len(case["words"])


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(bits=[0x7C00, 0xFC00, 0x7E01, 0xFFFF, 0x7BFF])
async def what_is_no_number_is_zero_and_reported(dut, bits: int) -> None:
    await begin(dut)
    case = load_cases()[0]  # a single step
    words, expected = list(case["words"]), list(case["steps"])
    last = COLUMNS * LANES - 1  # the last value of the step
    word, place = divmod(last * 16, PORT_BITS)
    words[word] = words[word] & ~(0xFFFF << place) | bits << place
    is_number = bits == 0x7BFF
    reported = await write(dut, words, False, pauses(0, 0))
    assert reported == [i == word and not is_number for i in range(len(words))]
    kept = bits if is_number else 0
    expected[0] = expected[0] & ~(0xFFFF << last * 16) | kept << last * 16
    assert await read(dut, [0], pauses(0, 0)) == expected
    # Any sixteen bits are good where activations are integers.
    assert not any(await write(dut, words, True, pauses(0, 0)))
