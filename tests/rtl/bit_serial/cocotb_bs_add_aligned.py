"""Bench of plait_bs_add_aligned against the golden sum, numbers with exponents and integers."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import as_signed, evaluate, parameter

from plait.models.golden.fixed import add_aligned

LEFT, RIGHT = parameter("LeftBits", 15), parameter("RightBits", 23)
SUM, INTEGER = parameter("SumBits", 15), parameter("IntegerBits", 32)
EXPONENT_MASK = 63


def _mantissas(rng: np.random.Generator, bits: int, count: int) -> np.ndarray:
    ends = np.array([-(1 << (bits - 1)), (1 << (bits - 1)) - 1, -1, 0, 1])
    magnitude = rng.integers(0, 1 << (bits - 1), count) >> rng.integers(0, bits, count)
    return np.where(rng.random(count) < 0.2, rng.choice(ends, count), magnitude) * rng.choice(
        [1, -1], count
    ).clip(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


@cocotb.test()
async def aligns_adds_and_renormalises(dut) -> None:
    rng, count = np.random.default_rng(1), 3000
    left, right = _mantissas(rng, LEFT, count), _mantissas(rng, RIGHT, count)
    left, right = (
        np.clip(m, -(1 << (b - 1)), (1 << (b - 1)) - 1) for m, b in ((left, LEFT), (right, RIGHT))
    )
    left_exponent = rng.integers(0, 40, count)
    right_exponent = np.clip(left_exponent + rng.integers(-30, 31, count), 0, 40)
    near = rng.random(count) < 0.5
    right_exponent[near] = (left_exponent + rng.integers(-3, 4, count)).clip(0, 40)[near]
    mantissa, exponent = add_aligned((left, left_exponent), (right, right_exponent), SUM)
    seen = await evaluate(
        dut,
        {
            "enable_i": [1] * count,
            "is_integer_i": [0] * count,
            "left_mantissa_i": left & (1 << max(LEFT, INTEGER)) - 1,
            "left_exponent_i": left_exponent,
            "right_mantissa_i": right & (1 << max(RIGHT, INTEGER)) - 1,
            "right_exponent_i": right_exponent,
        },
        ["sum_mantissa_o", "sum_exponent_o"],
    )
    width = max(SUM, INTEGER)
    assert [as_signed(m, width) for m in seen["sum_mantissa_o"]] == mantissa.tolist()
    assert seen["sum_exponent_o"] == (exponent & EXPONENT_MASK).tolist()


@cocotb.test(skip=INTEGER == 0)
async def adds_integers_exactly(dut) -> None:
    rng, count = np.random.default_rng(2), 500
    left, right = (_mantissas(rng, INTEGER - 1, count) for _ in range(2))
    seen = await evaluate(
        dut,
        {
            "enable_i": [1] * count,
            "is_integer_i": [1] * count,
            "left_mantissa_i": left & (1 << max(LEFT, INTEGER)) - 1,
            "left_exponent_i": [0] * count,
            "right_mantissa_i": right & (1 << max(RIGHT, INTEGER)) - 1,
            "right_exponent_i": [0] * count,
        },
        ["sum_mantissa_o", "sum_exponent_o"],
    )
    width = max(SUM, INTEGER)
    assert [as_signed(m, width) for m in seen["sum_mantissa_o"]] == (left + right).tolist()
    assert not any(seen["sum_exponent_o"])


@cocotb.test()
async def is_zero_at_rest(dut) -> None:
    inputs = {
        "enable_i": [0],
        "is_integer_i": [0],
        "left_mantissa_i": [5],
        "right_mantissa_i": [9],
        "left_exponent_i": [7],
        "right_exponent_i": [3],
    }
    seen = await evaluate(dut, inputs, ["sum_mantissa_o", "sum_exponent_o"])
    assert seen == {"sum_mantissa_o": [0], "sum_exponent_o": [0]}
