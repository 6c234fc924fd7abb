"""plait_bs_writer: a stream of words to consecutive addresses."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import pauses, send, start
from port_memory import PortMemory


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def words_go_to_their_addresses(dut, idle: float, stall: float) -> None:
    rng = random.Random(1)
    memory = PortMemory(dut, {})
    dut.word_valid_i.value = 0
    dut.address_load_i.value = 0
    dut.mem_write_ready_i.value = 0
    await start(dut)
    cocotb.start_soon(memory.run())
    for base in (0, 0xFFFF_FF00, 77):
        await ReadOnly()
        while not dut.idle_o.value:
            await RisingEdge(dut.clk_i)
            await ReadOnly()
        await RisingEdge(dut.clk_i)
        dut.address_load_i.value = 1
        dut.address_i.value = base
        await RisingEdge(dut.clk_i)
        dut.address_load_i.value = 0
        memory.restart(latency=1, threshold=round(stall * 2**32), seed=3)
        words = [rng.getrandbits(len(dut.word_data_i)) for _ in range(100)]
        await send(dut, "word", words, pauses(idle, 2))
        sent = memory.cycle
        while len(memory.writes) < len(words):
            await RisingEdge(dut.clk_i)
        assert memory.writes == [(base + i, word) for i, word in enumerate(words)]
        if not idle and not stall:
            assert memory.cycle - sent <= 1  # latency 1, a word a cycle
            assert sent == len(words)
