"""plait_sd_weights: codes of 2, 3, 4 and 8 bits with their places, against the golden unpacking."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import evaluate, packed, unpacked

from plait.models.golden import sparse_dsp as golden

BITS = (8, 4, 3, 2)  # by format


@cocotb.test()
async def values(dut) -> None:
    rng = np.random.default_rng(8)
    rows, want = [], []
    for number, bits in enumerate(BITS):
        for kept in (2, 4, 8, 16):
            for turn in range(kept // 2):
                for part in range({8: 1, 4: 2, 3: 2, 2: 4}[bits]):
                    word = int.from_bytes(rng.bytes(32), "little")
                    chosen = np.argsort(rng.random((16, 16)), axis=1)[:, :kept]
                    masks = (1 << chosen).sum(axis=1).tolist()
                    rows.append((word, part, number, kept, turn, packed(masks, 16)))
                    codes = golden.unpack_codes(word, part, bits)
                    want.append((codes.tolist(), golden.places(masks, kept, turn).tolist()))
    names = ("word_i", "slice_i", "format_i", "kept_i", "pass_i", "masks_i")
    inputs = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    seen = await evaluate(dut, inputs, ["weights_o", "places_o"])
    got = [
        (unpacked(weights, 8, 32, signed=True), unpacked(places, 4, 32))
        for weights, places in zip(seen["weights_o"], seen["places_o"], strict=True)
    ]
    assert got == want
