"""Bench of plait_bs_align: ties, extremes and random exponents; integers."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import evaluate, packed, parameter

from plait.models.golden.bit_serial import align

LANES, BITS = parameter("Lanes", 4), parameter("ExponentBits", 6)
COMMON = parameter("IntegerExponent", 6)


@cocotb.test()
async def finds_the_largest(dut) -> None:
    rng = np.random.default_rng(1)
    exponents = rng.integers(0, 1 << BITS, (600, LANES))
    exponents[:100] = rng.integers(0, 2, (100, LANES)) * ((1 << BITS) - 1)
    largest, shifts = align(exponents, 0)
    integers = rng.integers(0, COMMON + 1, (100, LANES))
    inputs = {
        "is_integer_i": [0] * 600 + [1] * 100,
        "exponents_i": [packed(row, BITS) for row in (*exponents, *integers)],
    }
    seen = await evaluate(dut, inputs, ["largest_o", "shifts_o"])
    assert seen["largest_o"] == [*largest.tolist(), *[COMMON] * 100]
    expected = (*shifts, *(COMMON - integers))
    assert seen["shifts_o"] == [packed(row, BITS) for row in expected]
