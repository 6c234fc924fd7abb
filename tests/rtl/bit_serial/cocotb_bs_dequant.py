"""Bench of plait_bs_dequant: groups at the shortest distance and with gaps, one or many a tile."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import as_signed, parameter, play, start_clock

from plait.models.golden import bit_serial as golden
from plait.models.golden.fixed import add_aligned

ACCUMULATOR, OUTPUT = parameter("AccumulatorBits", 15), parameter("OutputAccumulatorBits", 32)
SCALE, INTEGER = parameter("ScaleBits", 8), parameter("Integer", 1)
IN_WIDTH = max(ACCUMULATOR, golden.INTEGER_ACCUMULATOR_BITS if INTEGER else 0)
OUT_WIDTH = max(OUTPUT, golden.INTEGER_OUTPUT_BITS if INTEGER else 0)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(is_int8=[False, True], idle=[0.0, 0.5])
async def scales_and_adds(dut, is_int8: bool, idle: float) -> None:
    if is_int8 and not INTEGER:
        return
    rng = np.random.default_rng(1)
    count = 200
    bits = 24 if is_int8 else ACCUMULATOR
    ends = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    mantissas = np.where(
        rng.random(count) < 0.3, rng.choice(ends, count), rng.integers(*ends, count, endpoint=True)
    )
    exponents = np.zeros(count, int) if is_int8 else rng.integers(0, 45, count)
    scales = rng.integers(0, 1 << SCALE, count)
    scales[:4] = (1 << SCALE) - 1
    ends_tile = rng.random(count) < 0.4
    ends_tile[-1] = True
    first_of_tile = np.concatenate([[True], ends_tile[:-1]])
    loads = np.cumsum(SCALE + rng.integers(0, 5, count) * (rng.random(count) < idle)) - SCALE

    cycles = int(loads[-1]) + SCALE + 2
    names = ("load_i", "step_i", "scale_bit_i", "add_i", "first_i", "last_i")
    inputs = {name: [0] * cycles for name in (*names, "mantissa_i", "exponent_i")}
    expected: dict[int, tuple[int, int]] = {}
    total = (np.int64(0), np.int64(0))
    for group, load in enumerate(loads.tolist()):
        inputs["load_i"][load] = 1
        inputs["mantissa_i"][load] = int(mantissas[group]) & ((1 << IN_WIDTH) - 1)
        inputs["exponent_i"][load] = int(exponents[group])
        for bit in range(SCALE):
            inputs["scale_bit_i"][load + bit] = int(scales[group]) >> (SCALE - 1 - bit) & 1
            inputs["step_i"][load + bit] |= bit > 0
        inputs["add_i"][load + SCALE] = 1
        inputs["step_i"][load + SCALE] = 1  # the array keeps it high so long; nothing may change
        inputs["first_i"][load + SCALE] = int(first_of_tile[group])
        inputs["last_i"][load + SCALE] = int(ends_tile[group])
        product = (golden.dequantise(mantissas[group], scales[group], SCALE), exponents[group])
        if first_of_tile[group]:
            total = (np.int64(0), np.int64(0))
        total = (
            (total[0] + product[0], np.int64(0)) if is_int8 else add_aligned(total, product, OUTPUT)
        )
        if ends_tile[group]:
            expected[load + SCALE + 1] = (int(total[0]), int(total[1]))
    inputs["is_int8_i"] = [int(is_int8)]
    await start_clock(dut)
    seen = await play(dut, inputs, ["mantissa_o", "exponent_o"], extra=1)
    held, want = None, []
    for cycle in range(cycles):  # results hold until the next tile ends
        held = expected.get(cycle, held)
        want.append(held)
    got = [
        (as_signed(mantissa, OUT_WIDTH), exponent)
        for mantissa, exponent in zip(seen["mantissa_o"], seen["exponent_o"], strict=True)
    ]
    first = min(expected)
    assert got[first:cycles] == want[first:]
