"""plait_at_dot: exact dot products, two cycles behind the last step, with bubbles between steps."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from harness import as_signed, packed, parameter, play, start

LANES, STEPS = parameter("Lanes", 16), parameter("Steps", 4)
LATENCY = 2


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def equals_the_exact_product(dut, idle: float) -> None:
    rng, pause = np.random.default_rng(1), random.Random(2)
    queries = rng.integers(-(1 << 15), 1 << 15, (40, STEPS * LANES))
    keys = rng.integers(-128, 128, (40, STEPS * LANES))
    queries[0], keys[0] = -(1 << 15), -128
    inputs: dict[str, list[int]] = {
        f"{n}_i": [] for n in ("valid", "first", "last", "query", "key")
    }
    ends = []
    for query, key in zip(queries, keys, strict=True):
        for step in range(STEPS):
            while idle and pause.random() < idle:
                row = (0, pause.getrandbits(1), pause.getrandbits(1), 0, 0)
                for name, value in zip(inputs, row, strict=True):
                    inputs[name].append(value)
            at = slice(step * LANES, (step + 1) * LANES)
            row = (1, step == 0, step == STEPS - 1, packed(query[at], 16), packed(key[at], 8))
            for name, value in zip(inputs, row, strict=True):
                inputs[name].append(int(value))
        ends.append(len(inputs["valid_i"]) - 1)
    await start(dut)
    last = {name: [*values, 0] for name, values in inputs.items()}
    seen = await play(dut, last, ["dot_valid_o", "dot_o"], LATENCY + 1)
    width = len(dut.dot_o)
    found = [
        (cycle, as_signed(dot, width))
        for cycle, (valid, dot) in enumerate(zip(seen["dot_valid_o"], seen["dot_o"], strict=True))
        if valid
    ]
    dots = (queries * keys).sum(axis=1).tolist()
    assert found == [(end + LATENCY, dot) for end, dot in zip(ends, dots, strict=True)]
