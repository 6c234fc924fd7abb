"""plait_at_exp2: 2^x of every fraction, and of falls up to nothing."""

from __future__ import annotations

import cocotb
from harness import packed, play, start_clock

from plait.models.golden import attention as unit

LATENCY = 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def equals_the_golden_model(dut) -> None:
    fraction_bits, width = unit.DEFAULT.score_fraction_bits, unit.DEFAULT.score_bits + 1
    differences = list(range(-(1 << fraction_bits), 1))
    differences += [-(fall << fraction_bits) - 77 for fall in (*range(1, 66), 500, 4000)]
    await start_clock(dut)
    driven = [packed([d], width) for d in differences]
    seen = await play(dut, {"difference_i": driven}, ["probability_o"], LATENCY)
    assert seen["probability_o"][LATENCY:] == unit.exp2(differences).tolist()
