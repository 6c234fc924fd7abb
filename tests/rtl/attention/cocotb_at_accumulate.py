"""plait_at_accumulate: sums and accumulators of two jobs, with bubbles."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.triggers import Timer
from harness import packed, parameter, play, start, unpacked

from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT
from plait.models.golden.fixed import shift_right

LANES, STEPS = parameter("Lanes", 16), parameter("Steps", 4)
LATENCY, TOKENS, VALUE_SHIFT = 4, 30, 30


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float) -> None:
    rng, pause = np.random.default_rng(5), random.Random(6)
    values = rng.integers(-128, 128, (TOKENS, STEPS * LANES))
    scales = np.exp2(rng.uniform(-16, 4, TOKENS)).astype(np.float16)
    probabilities = (2.0 ** rng.uniform(0, 31, TOKENS)).astype(np.int64)
    probabilities[3] = 1 << DEFAULT.fraction_bits
    changes = rng.choice([0, 0, 0, 1, 2, 40], TOKENS)
    sums, accumulators = np.int64(0), np.zeros(STEPS * LANES, np.int64)
    rows = []
    for token in range(TOKENS):
        first = token in (0, 9)
        change = 63 if first else changes[token]
        if first:
            sums, accumulators = np.int64(0), np.zeros_like(accumulators)
        sums = shift_right(sums, change) + probabilities[token]
        weight = unit.weigh(probabilities[token], scales[token : token + 1], VALUE_SHIFT)
        accumulators = shift_right(accumulators, change) + weight * values[token]
        bits = int(scales[token : token + 1].view(np.uint16)[0])
        for step in range(STEPS):
            while idle and pause.random() < idle:
                rows.append((0, 0, 1, 7, 5, 0, 0))
            part = packed(values[token, step * LANES : (step + 1) * LANES], 8)
            row = (1, step, first, changes[token], probabilities[token], bits, part)
            rows.append(tuple(int(x) for x in row))
    rows.append((0, 0, 0, 0, 0, 0, 0))
    names = ("valid_i", "step_i", "first_i", "change_i", "probability_i", "scale_i", "values_i")
    dut.value_shift_i.value = VALUE_SHIFT
    dut.read_step_i.value = 0
    await start(dut)
    driven = {name: list(items) for name, items in zip(names, zip(*rows, strict=True), strict=True)}
    seen = await play(dut, driven, ["sum_o", "bad_scale_o"], LATENCY - 1)
    assert seen["sum_o"][-1] == sums
    assert not any(seen["bad_scale_o"])
    found = []
    for step in range(STEPS):
        dut.read_step_i.value = step
        await Timer(1, unit="ns")
        word = int(dut.accumulators_o.value)
        found += unpacked(word, DEFAULT.accumulator_bits, LANES, signed=True)
    assert found == accumulators.tolist()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_scale_beyond_the_unit_is_flagged(dut) -> None:
    await start(dut)
    dut.value_shift_i.value = VALUE_SHIFT
    dut.read_step_i.value = 0
    scales = [int(np.float16(x).view(np.uint16)) for x in (1.0, 32.0, 64.0, 1e-7, np.inf)]
    rest = {name: [0] for name in ("step_i", "first_i", "change_i", "probability_i", "values_i")}
    seen = await play(dut, {"valid_i": [1] * 5, "scale_i": scales, **rest}, ["bad_scale_o"])
    assert seen["bad_scale_o"] == [0, 0, 1, 0, 1]
