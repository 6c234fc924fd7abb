"""plait_bs_banked_fifo: entries written bank by bank, popped whole."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, pauses, start, unpacked

BANKS, WIDTH, DEPTH = parameter("Banks", 8), parameter("BankWidth", 32), parameter("Depth", 16)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def entries_are_kept(dut, idle: float, stall: float) -> None:
    rng = random.Random(1)
    for name in ("write_enable_i", "push_i", "pop_i"):
        getattr(dut, name).value = 0
    await start(dut)
    held: deque[list[int]] = deque()
    entry: list[int] = []
    expected = None  # what read_data_o must show
    idles, stalls = pauses(idle, 2), pauses(stall, 3)
    popped = was_full = 0
    while popped < 10 * DEPTH:
        # The flags come from registers: they are settled before anything is driven.
        is_full, is_available = len(held) == DEPTH, bool(held)
        bank = len(entry)
        writes = not is_full and not next(idles)
        pops = is_available and not next(stalls) and not (popped % 50 == 0 and len(held) < DEPTH)
        value = rng.getrandbits(WIDTH)
        dut.write_enable_i.value = (1 << bank) if writes else 0
        dut.write_data_i.value = sum(value << (b * WIDTH) for b in range(BANKS))
        dut.push_i.value = int(writes and bank == BANKS - 1)
        dut.pop_i.value = int(pops)
        await ReadOnly()
        assert dut.full_o.value == is_full
        assert dut.available_o.value == is_available
        if expected is not None:
            assert unpacked(dut.read_data_o.value.to_unsigned(), WIDTH, BANKS) == expected
        await RisingEdge(dut.clk_i)
        was_full += is_full
        if pops:
            expected = held.popleft()
            popped += 1
        if writes:
            entry.append(value)
            if len(entry) == BANKS:
                held.append(entry)
                entry = []
    assert was_full
