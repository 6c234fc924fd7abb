"""plait_sd_dsp: packed products of all corners, the cascade chosen, four cycles later."""

from __future__ import annotations

import itertools
import random

import cocotb
from harness import as_signed, parameter, play, start_clock

from plait.models.golden.sparse_dsp import pack

LATENCY = 4


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def values(dut) -> None:
    rng = random.Random(5)
    cases = list(itertools.product((-128, -127, -1, 0, 1, 127), repeat=3))
    cases += [tuple(rng.randrange(-128, 128) for _ in range(3)) for _ in range(300)]
    restart = [rng.randrange(2) for _ in cases]
    cascade = [rng.getrandbits(36) for _ in range(len(cases) + LATENCY)]
    inputs = {
        name: [case[i] & 255 for case in cases]
        for i, name in enumerate(("weight_i", "high_i", "low_i"))
    }
    await start_clock(dut)
    outputs = ["sum_o", "cascade_o"]
    seen = await play(dut, {**inputs, "restart_i": restart, "cascade_i": cascade}, outputs)
    shift = parameter("Shift", 18)
    want = [
        int(pack(high, low, shift)) * weight + (0 if begins else cascade[i + LATENCY - 1])
        for i, ((weight, high, low), begins) in enumerate(zip(cases, restart, strict=True))
    ]
    got = [as_signed(value, 48) for value in seen["sum_o"]]
    assert got[LATENCY : LATENCY + len(cases)] == want
    assert seen["cascade_o"] == seen["sum_o"]
