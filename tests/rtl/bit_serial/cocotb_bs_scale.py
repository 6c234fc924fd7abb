"""Bench of plait_bs_scale: ties, carries, all lengths of mantissas, subnormal steps."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import evaluate, parameter
from stimulus import fp16_numbers

from plait.models.golden.bit_serial import FP16_UNIT_EXPONENT, output_float32

GUARD, BITS = parameter("GuardBits", 3), parameter("MantissaBits", 40)


@cocotb.test()
@cocotb.parametrize(is_int8=[False, True])
async def rounds_once(dut, is_int8: bool) -> None:
    rng, count = np.random.default_rng(1), 4000
    most = (1 << (BITS - 1)) - 1
    mantissa = rng.integers(-most - 1, most, count, endpoint=True) >> rng.integers(0, BITS, count)
    mantissa[:4] = (0, -1, most, -most - 1)
    near_ties = rng.integers(1, 1 << min(24, BITS - 3), 500)
    mantissa[4:504] = (2 * near_ties + 1) << rng.integers(0, max(1, BITS - 27), 500)
    exponent = rng.integers(0, 60, count)
    steps = np.abs(fp16_numbers(rng, (count,)))
    steps[2:504] = 1.0  # the largest mantissa: all ones, rounding carries out of them
    unit = 0 if is_int8 else exponent - FP16_UNIT_EXPONENT - GUARD
    expected = output_float32(mantissa, unit, steps).view(np.uint32)
    seen = await evaluate(
        dut,
        {
            "is_int8_i": [int(is_int8)] * count,
            "mantissa_i": mantissa & ((1 << BITS) - 1),
            "exponent_i": exponent,
            "channel_step_i": steps.view(np.uint16),
        },
        ["result_o"],
    )
    assert seen["result_o"] == expected.tolist()
