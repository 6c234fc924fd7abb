"""plait_sd_mux: every place, both rows, a cycle later."""

from __future__ import annotations

import random

import cocotb
from harness import packed, play, start_clock


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def values(dut) -> None:
    rng = random.Random(9)
    places = [*range(16), 15, 0, *(rng.randrange(16) for _ in range(100))]
    rows = [[[rng.randrange(256) for _ in range(16)] for _ in places] for _ in range(2)]
    inputs = {"place_i": places}
    inputs |= {
        name: [packed(window, 8) for window in row]
        for name, row in zip(("high_i", "low_i"), rows, strict=True)
    }
    await start_clock(dut)
    seen = await play(dut, inputs, ["high_o", "low_o"], extra=1)
    for name, row in zip(("high_o", "low_o"), rows, strict=True):
        want = [window[place] for window, place in zip(row, places, strict=True)]
        assert seen[name][1 : len(places) + 1] == want
