"""Bench of plait_adder_tree: extremes, then random sums."""

from __future__ import annotations

import random

import cocotb
from harness import as_signed, evaluate, packed, parameter

INPUTS, WIDTH = parameter("Inputs", 4), parameter("Width", 15)


@cocotb.test()
async def sums_are_exact(dut) -> None:
    rng = random.Random(1)
    least, most = -(1 << (WIDTH - 1)), (1 << (WIDTH - 1)) - 1
    rows = [[least] * INPUTS, [most] * INPUTS, [0] * INPUTS, [-1] * INPUTS]
    rows += [[rng.randint(least, most) for _ in range(INPUTS)] for _ in range(300)]
    seen = await evaluate(dut, {"values_i": [packed(row, WIDTH) for row in rows]}, ["sum_o"])
    width = WIDTH + (INPUTS - 1).bit_length()
    assert [as_signed(value, width) for value in seen["sum_o"]] == [sum(row) for row in rows]
