"""Bench of the comparison PEs: groups of random steps against the golden sum."""

from __future__ import annotations

import os

import cocotb
import numpy as np
from harness import as_signed, packed, parameter, play, start_clock
from stimulus import fp16_numbers

from plait.models import formats
from plait.models.formats.olive import VICTIM
from plait.models.golden import bit_serial as golden

LANES, ACCUMULATOR = parameter("Lanes", 1), parameter("AccumulatorBits", 15)
STEPS, GROUP = 900, 9


def _fp16(rng: np.random.Generator) -> tuple[dict[str, list[int]], list[np.ndarray]]:
    weights = fp16_numbers(rng, (STEPS, LANES))
    inputs = {"weights_i": [packed(row, 16) for row in weights.view(np.uint16)]}
    return inputs, list(golden.split_fp16(weights))


def _ant(rng: np.random.Generator) -> tuple[dict[str, list[int]], list[np.ndarray]]:
    codes = rng.integers(0, 16, (STEPS, LANES))
    is_flint = np.arange(STEPS) // GROUP % 2
    values = np.nan_to_num(formats.get("ant4").table[is_flint[:, np.newaxis], codes]).astype(int)
    exponent = np.where(values == 0, 0, np.log2((values & -values).clip(1)).astype(int))
    exponent *= is_flint[:, np.newaxis]  # flint: odd part and power of two
    inputs = {"is_flint_i": is_flint.tolist(), "codes_i": [packed(row, 4) for row in codes]}
    return inputs, [codes >> 3, exponent, np.abs(values) >> exponent]


def _olive(rng: np.random.Generator) -> tuple[dict[str, list[int]], list[np.ndarray]]:
    table = formats.get("olive4").table
    codes, neighbours = rng.integers(0, 16, (2, STEPS, LANES))
    is_outlier = rng.random((STEPS, LANES)) < 0.3
    neighbours[is_outlier] = VICTIM
    neighbours[~is_outlier & (neighbours == VICTIM)] = 0
    codes[is_outlier & (codes & 7 == 0)] = 1  # the outliers of 32 are left out of the format
    magnitude = np.abs(table[is_outlier.astype(int), codes]).astype(int)
    exponent = np.where(is_outlier, 4 + (codes >> 1 & 3), 2)
    inputs = {
        "codes_i": [packed(row, 4) for row in codes],
        "neighbours_i": [packed(row, 4) for row in neighbours],
    }
    return inputs, [codes >> 3, exponent, magnitude >> exponent]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def groups(dut) -> None:
    rng = np.random.default_rng(1)
    weights = {"plait_fp16_mac": _fp16, "plait_ant_pe": _ant, "plait_olive_pe": _olive}
    inputs, (weight_sign, weight_exponent, integer) = weights[os.environ["PE"]](rng)
    activations = fp16_numbers(rng, (STEPS, LANES))
    sign, exponent, mantissa = golden.split_fp16(activations)
    largest, shift = golden.align(exponent, weight_exponent)
    sums = golden.multiply(mantissa * integer, 1, sign ^ weight_sign, shift, 0).sum(axis=-1)
    expected = []
    held = (np.zeros((), int), np.zeros((), int))
    for step in range(STEPS):
        if step % GROUP == 0:
            held = (np.zeros((), int), np.zeros((), int))
        held = golden.accumulate(held, sums[step], largest[step], 0, ACCUMULATOR)
        expected.append((int(held[0]), int(held[1])))
    inputs["activations_i"] = [packed(row, 16) for row in activations.view(np.uint16)]
    inputs["accumulate_i"] = [0, 0] + [1] * STEPS
    inputs["first_i"] = [0, 0] + [int(step % GROUP == 0) for step in range(STEPS)]
    await start_clock(dut)
    seen = await play(dut, inputs, ["mantissa_o", "exponent_o"], extra=1)
    got = [
        (as_signed(m, ACCUMULATOR), e)
        for m, e in zip(seen["mantissa_o"][3:], seen["exponent_o"][3:], strict=True)
    ]
    assert got == expected
