"""Bench of plait_bs_activation: all finite FP16 numbers and all INT8."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import evaluate, packed, parameter

from plait.models.golden.bit_serial import split_fp16

LANES = parameter("Lanes", 4)


@cocotb.test()
async def splits_all_numbers(dut) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[bits & 0x7C00 != 0x7C00]
    sign, exponent, mantissa = split_fp16(bits.view(np.float16))
    integers = np.arange(-128, 128)
    rows = [
        *zip(bits, sign, exponent, mantissa, [0] * bits.size, strict=True),
        *((n & 0xFF, n < 0, 0, abs(n) << 3, 1) for n in integers.tolist()),
    ]
    rows += rows[: -len(rows) % LANES]  # whole steps
    steps = [rows[i : i + LANES] for i in range(0, len(rows), LANES)]
    steps = [step for step in steps if len({row[4] for row in step}) == 1]
    inputs = {
        "is_int8_i": [step[0][4] for step in steps],
        "activations_i": [packed([row[0] for row in step], 16) for step in steps],
    }
    widths = {"signs_o": 1, "exponents_o": 5, "mantissas_o": 11}
    seen = await evaluate(dut, inputs, list(widths))
    for field, (name, width) in enumerate(widths.items(), start=1):
        assert seen[name] == [packed([row[field] for row in step], width) for step in steps], name
