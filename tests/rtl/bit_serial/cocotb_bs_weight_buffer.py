"""plait_bs_weight_buffer: a matrix's image comes out as steps, headers and channel steps."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, pauses, send, start
from port_memory import load_cases

DEPTH = parameter("WeightBufferSteps", 64)


async def read_all(dut, case: dict[str, Any], stall: float) -> None:
    """Take every step of a matrix and compare."""
    expected, channels = case["steps"], list(case["channels"])
    pending: list[tuple[int, tuple[int, int, int]]] = []  # due cycle, outputs
    stalls = pauses(stall, 3)
    cycle = taken = 0
    shown_channel = None
    while taken < len(expected) or pending:
        await ReadOnly()
        if pending and pending[0][0] == cycle:
            _, outputs = pending.pop(0)
            seen = (dut.codes_o, dut.selectors_o, dut.scales_o)
            assert tuple(s.value.to_unsigned() for s in seen) == outputs
        if shown_channel is not None:
            assert dut.channel_steps_o.value.to_unsigned() == shown_channel
        is_there = bool(dut.step_available_o.value)
        await RisingEdge(dut.clk_i)
        cycle += 1
        # Reads follow the availability seen a cycle before: it only grows until they happen.
        reads = is_there and taken < len(expected) and not pending and not next(stalls)
        dut.step_read_i.value = int(reads)
        dut.group_read_i.value = int(reads and expected[taken][0])
        starts_tile = reads and taken % case["tile_steps"] == 0
        dut.channel_read_i.value = int(starts_tile)
        if reads:
            pending.append((cycle + 2, expected[taken][1:]))
            taken += 1
            await RisingEdge(dut.clk_i)
            cycle += 1
            for name in ("step_read_i", "group_read_i", "channel_read_i"):
                getattr(dut, name).value = 0
            if starts_tile:
                shown_channel = channels.pop(0)


async def begin(dut) -> None:
    for name in ("word_valid_i", "step_read_i", "group_read_i", "channel_read_i"):
        getattr(dut, name).value = 0
    await start(dut)


def configure(dut, case: dict[str, Any]) -> None:
    for name in ("format", "groups", "steps_per_group", "last_group_steps"):
        getattr(dut, f"{name}_i").value = case[name]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def a_matrix_comes_out_as_it_went_in(dut, idle: float, stall: float) -> None:
    await begin(dut)
    for case in load_cases():
        configure(dut, case)
        feed = cocotb.start_soon(send(dut, "word", case["words"], pauses(idle, 2)))
        await read_all(dut, case, stall)
        await feed


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_word_is_taken_every_cycle_until_full(dut) -> None:
    """Of a stream that nobody reads, the buffer takes its steps and the headers between."""
    await begin(dut)
    case = load_cases()[-1]  # one tile of more steps than it holds, groups of 32
    configure(dut, case)
    cocotb.start_soon(send(dut, "word", case["words"], pauses(0, 0)))
    groups = case["groups"]
    header_words = (len(case["words"]) - case["tile_steps"] * case["step_words"]) // (1 + groups)
    headers = 1 + DEPTH // 32 + 1  # channel steps, full groups, the group begun
    expected = headers * header_words + DEPTH * case["step_words"]
    for cycle in range(expected + 20):
        await ReadOnly()
        assert dut.word_ready_o.value == (cycle < expected), (cycle, expected)
        await RisingEdge(dut.clk_i)
