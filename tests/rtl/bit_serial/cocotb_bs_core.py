"""plait_bs_core: programs in memory give the golden model's words in the predicted cycles."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, start, unpacked
from port_memory import PortMemory, load_cases

COLUMNS, LANES = parameter("Columns", 4), parameter("Lanes", 4)
IDLE, DESCRIPTOR = 0, 2  # state_e
NON_FINITE, BAD_DESCRIPTOR = 1, 2  # error_o
ALWAYS = 1 << 32


async def begin(dut) -> PortMemory:
    dut.start_i.value = 0
    dut.descriptor_address_i.value = 0
    memory = PortMemory(dut, {})
    dut.mem_read_valid_i.value = 0
    dut.mem_read_request_ready_i.value = 0
    dut.mem_write_ready_i.value = 0
    await start(dut)
    cocotb.start_soon(memory.run())
    await RisingEdge(dut.clk_i)
    return memory


async def run(dut, memory: PortMemory, case: dict[str, Any], words: dict[int, int]) -> int:
    """Start and wait for the end; give the cycles that the machine was seen busy."""
    memory.words = dict(words)
    memory.restart(*case["memory"])
    dut.start_i.value = 1
    await RisingEdge(dut.clk_i)
    dut.start_i.value = 0
    limit, busy = 2 * sum(case["counters"]) + 100, 0
    while True:
        await ReadOnly()
        busy += int(dut.busy_o.value)
        if dut.done_o.value:
            break
        assert busy <= limit, f"hangs in state {dut.state_o.value}"
        await RisingEdge(dut.clk_i)
    assert dut.state_o.value.to_unsigned() == IDLE
    assert not dut.busy_o.value
    await RisingEdge(dut.clk_i)
    return busy


def counters(dut) -> list[int]:
    return unpacked(dut.counters_o.value.to_unsigned(), 32, len(dut.counters_o) // 32)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(stall=[False, True])
async def words_and_cycles_are_those_predicted(dut, stall: bool) -> None:
    memory = await begin(dut)
    cases = [case for case in load_cases() if (case["memory"][1] > 0) == stall]
    assert cases
    for index, case in enumerate(cases):
        busy = await run(dut, memory, case, case["words"])
        assert memory.writes == case["writes"], f"case {index}"
        assert counters(dut) == case["counters"], f"case {index}"
        assert dut.cycles_o.value.to_unsigned() == busy == sum(case["counters"])
        assert dut.error_o.value.to_unsigned() == 0


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_bad_descriptor_ends_the_run(dut) -> None:
    memory = await begin(dut)
    case = load_cases()[0]
    first, second = case["words"][0], case["words"][1]
    bad = [
        (first ^ 1 << 24, second),  # magic
        (first | 0xF << 4, second),  # a format there is not
        (first | (0x10001 << 192), second),  # more inputs than the accumulators are exact for
        *((first, second & ~(0xFFFFFFFF << (32 * field))) for field in range(8)),  # a count of 0
        (first, second | 1 << 190),  # more activations than the buffer holds
        (first, second ^ 1 << 224),  # results of another machine's tile
        (first, second | 1 << 158),  # a last group larger than a group
    ]
    for words in bad:
        changed = case["words"] | {0: words[0], 1: words[1]}
        busy = await run(dut, memory, case, changed)
        assert dut.error_o.value.to_unsigned() == BAD_DESCRIPTOR
        assert memory.writes == []
        assert counters(dut) == [busy, *[0] * (len(case["counters"]) - 1)]
        assert len(memory.requests) == 1
    await run(dut, memory, case, case["words"])
    assert dut.error_o.value.to_unsigned() == 0
    assert memory.writes == case["writes"]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_nan_is_reported_until_the_next_start(dut) -> None:
    memory = await begin(dut)
    case = next(case for case in load_cases() if not case["words"][0] >> 8 & 1)
    activation = case["words"][0] >> 64 & 0xFFFFFFFF
    changed = case["words"] | {activation: case["words"][activation] | 0x7C00}
    await run(dut, memory, case, changed)
    assert dut.error_o.value.to_unsigned() == NON_FINITE
    assert counters(dut) == case["counters"]
    await run(dut, memory, case, case["words"])
    assert dut.error_o.value.to_unsigned() == 0


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def the_state_says_where_it_hangs(dut) -> None:
    memory = await begin(dut)
    memory.restart(latency=1, threshold=ALWAYS, seed=0)
    dut.start_i.value = 1
    await RisingEdge(dut.clk_i)
    dut.start_i.value = 0
    for _ in range(100):
        await RisingEdge(dut.clk_i)
    assert dut.busy_o.value
    assert dut.state_o.value.to_unsigned() == DESCRIPTOR
