"""plait_sd_chain: the sum behind every group, for every way to break the chain, all -128 too."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import packed, parameter, play, start_clock, unpacked

from plait.models.golden import sparse_dsp as golden


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def values(dut) -> None:
    rng = np.random.default_rng(2)
    dsps, cascade = parameter("Dsps", 16), parameter("Cascade", 8)
    groups, latency = dsps // 2, cascade + 4
    breaks = [int(mask) for mask in range(1 << groups)][:256]
    begins = np.array([[mask >> g & 1 for g in range(groups)] for mask in breaks] * 3, bool)
    # Lanes hold eight products: no sum may be longer where the cascade is.
    begins[:, ::4] = True
    count = len(begins)
    operands = rng.integers(-128, 128, (3, count, dsps))
    operands[:, : len(breaks)] = -128
    operands[0, len(breaks) : len(breaks) + 40] = 127
    names = ("weights_i", "highs_i", "lows_i")
    inputs = {
        name: [packed(row, 8) for row in values]
        for name, values in zip(names, operands.tolist(), strict=True)
    }
    inputs["restarts_i"] = [packed(row, 1) for row in begins.tolist()]
    await start_clock(dut)
    seen = await play(dut, inputs, ["highs_o", "lows_o"], extra=latency)
    want = golden.chain(*operands, begins, cascade)
    for name, lanes in zip(("highs_o", "lows_o"), want, strict=True):
        got = [unpacked(word, 19, groups, signed=True) for word in seen[name]]
        assert got[latency : latency + count] == lanes.tolist()
