"""plait_sd_reciprocal: every length of number, corners, values of the golden model, cycles."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, start

from plait.models.golden.special_functions import inverse_root, reciprocal

WIDTH = parameter("Width", 50)
CYCLES = {False: 34, True: 50}


async def run(dut, number: int, is_root: bool) -> tuple[int, int, int]:
    """Mantissa, exponent and cycles of one number."""
    dut.number_i.value = number
    dut.is_root_i.value = is_root
    dut.start_i.value = 1
    cycles = 0
    while True:
        await ReadOnly()
        cycles += 1
        done = bool(dut.done_o.value)
        found = dut.mantissa_o.value, dut.exponent_o.value
        await RisingEdge(dut.clk_i)
        dut.start_i.value = 0
        dut.number_i.value = number ^ 1  # sampled with the start alone
        if done:
            return found[0].to_unsigned(), found[1].to_signed(), cycles
        assert cycles < 100, "hangs"


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(is_root=[False, True])
async def values_and_cycles(dut, is_root: bool) -> None:
    dut.start_i.value = 0
    await start(dut)
    rng = random.Random(3)
    numbers = [0, 1, 2, 3, (1 << WIDTH) - 1]
    for length in range(2, WIDTH + 1):
        lowest = 1 << (length - 1)
        numbers += [lowest, 2 * lowest - 1, lowest | rng.getrandbits(length - 1)]
    golden = inverse_root if is_root else reciprocal
    for number in numbers:
        mantissa, exponent, cycles = await run(dut, number, is_root)
        assert (mantissa, exponent) == golden(max(number, 1)), number
        assert cycles == CYCLES[is_root]
