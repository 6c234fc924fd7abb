"""plait_sd_store: entries go to consecutive words, in the cycles of its header."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import packed, parameter, pauses, start

from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.instruction import Instruction, Program, Queue

PORT_BYTES = parameter("PortBits", 256) // 8


async def answer(dut, entries: dict[int, int]) -> None:
    """The buffer: a word a cycle later, held until the next read."""
    while True:
        await ReadOnly()
        enable, address = bool(dut.read_enable_o.value), dut.read_address_o.value
        await RisingEdge(dut.clk_i)
        if enable:
            dut.read_data_i.value = entries[address.to_unsigned()]


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def words_and_cycles(dut, stall: float) -> None:
    rng = random.Random(7)
    entries = {entry: rng.getrandbits(8 * PORT_BYTES) for entry in range(4096)}
    dut.start_i.value = 0
    dut.mem_write_ready_i.value = 0
    await start(dut)
    cocotb.start_soon(answer(dut, entries))
    pause = pauses(stall, 11)
    for words in (1, 2, 3, 17, 1, 40):
        address, entry = rng.randrange(1 << 20), rng.randrange(4000)
        one = Instruction(
            Queue.ST, length=words * PORT_BYTES, address=address * PORT_BYTES, bank_address=entry
        )
        dut.store_i.value = packed(encode(Program.of([one])).tolist(), 32)
        dut.start_i.value = 1
        written, cycles = [], 0
        while True:
            dut.mem_write_ready_i.value = not next(pause)
            await ReadOnly()
            if dut.mem_write_valid_o.value and dut.mem_write_ready_i.value:
                place = dut.mem_write_address_o.value.to_unsigned()
                written.append((place, dut.mem_write_data_o.value.to_unsigned()))
            done = bool(dut.done_o.value)
            await RisingEdge(dut.clk_i)
            dut.start_i.value = 0
            cycles += 1
            if done:
                break
            assert cycles < 1000, "hangs"
        assert written == [(address + i, entries[entry + i]) for i in range(words)]
        assert stall or cycles == words + 3
