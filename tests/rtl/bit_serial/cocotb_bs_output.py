"""plait_bs_output: a tile of accumulators drains as FP32 words in order."""

from __future__ import annotations

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import pauses, receive, start
from port_memory import load_cases


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def tiles_drain_in_order(dut, idle: float, stall: float) -> None:
    dut.result_valid_i.value = 0
    dut.word_ready_i.value = 0
    await start(dut)
    for seed, (inputs, expected) in enumerate(load_cases()):
        for name, value in inputs.items():
            getattr(dut, name).value = value
        dut.result_valid_i.value = 1
        await RisingEdge(dut.clk_i)
        dut.result_valid_i.value = 0
        drained = cocotb.start_soon(cycle_of_drain(dut))
        cycles: list[int] = []
        assert await receive(dut, "word", len(expected), pauses(stall, seed), cycles) == expected
        if not stall:
            # Counted from the cycle after result_valid_i: two registers, then a word a cycle.
            assert cycles == list(range(2, 2 + len(expected)))
            assert await drained == len(expected) - 1  # the last word is selected
        await ReadOnly()
        assert dut.idle_o.value
        for _ in range(3 if idle else 1):
            await RisingEdge(dut.clk_i)


async def cycle_of_drain(dut) -> int:
    cycle = 0
    while True:
        await ReadOnly()
        if dut.tile_drained_o.value:
            return cycle
        await RisingEdge(dut.clk_i)
        cycle += 1
