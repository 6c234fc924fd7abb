"""plait_sd_dot_array: sums of all N equal to the golden chains; bubbles; its latency."""

from __future__ import annotations

from collections.abc import Iterator

import cocotb
import numpy as np
from harness import packed, parameter, play, start, unpacked

from plait.models.golden import sparse_dsp as golden
from plait.sim.compiler.cycles import DOT_LATENCY

NAMES = ("valid_i", "first_i", "kept_i", "pass_i", "weights_i", "places_i", "window_i")
ROWS = parameter("Rows", 4)
OUTPUTS = 16


class Job:
    """Sums over some K blocks: what the array is fed for them, and what they are."""

    def __init__(self, rng: np.random.Generator, kept: list[int], extreme: bool = False) -> None:
        low, high = (-128, -127) if extreme else (-128, 128)
        self.cycles: list[tuple[int, ...]] = []
        self.sums = np.zeros((ROWS, OUTPUTS), np.int64)
        for n in kept:
            window = rng.integers(low, high, (ROWS, 16))
            chosen = np.sort(np.argsort(rng.random((OUTPUTS, 16)), axis=-1)[:, :n], axis=-1)
            if n == 2:
                chosen[:] = (0, 15)  # both ends of the window
            weights = rng.integers(low, high, chosen.shape)
            for turn in range(n // 2):
                part = slice(32 * turn, 32 * turn + 32)
                values, places = weights.ravel()[part], chosen.ravel()[part]
                words = (packed(values, 8), packed(places, 4), packed(window.ravel(), 8))
                self.cycles.append((1, not self.cycles, n, turn, *words))
                self.sums += golden.step(values, places, window, n, turn)


def make_jobs(rng: np.random.Generator) -> Iterator[Job]:
    for n in (2, 4, 8, 16):
        yield Job(rng, [n] * 3)
        yield Job(rng, [n] * 3, extreme=True)
    for _ in range(4):
        yield Job(rng, [0, 16, 2, 8, 0, 4, 16, 0])
    yield Job(rng, [16] * 40, extreme=True)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5])
async def values(dut, idle: float) -> None:
    rng = np.random.default_rng(6)
    stream, ends, jobs = [], [], list(make_jobs(rng))
    for job in jobs:
        for cycle in job.cycles:
            while rng.random() < idle:  # a bubble: what lies at the inputs must not count
                stream.append((0, *cycle[1:]))
            stream.append(cycle)
        ends.append(len(stream) - 1)
    inputs = {name: [int(cycle[i]) for cycle in stream] for i, name in enumerate(NAMES)}
    inputs["valid_i"].append(0)
    dut.valid_i.value = 0
    await start(dut)
    seen = (await play(dut, inputs, ["accumulators_o"], extra=DOT_LATENCY))["accumulators_o"]
    for number, (job, end) in enumerate(zip(jobs, ends, strict=True)):
        got = unpacked(seen[end + DOT_LATENCY], 32, ROWS * OUTPUTS, signed=True)
        assert got == job.sums.ravel().tolist(), f"sum {number}, {idle=}"
        # Not a cycle sooner: the last group has added something.
        assert seen[end + DOT_LATENCY - 1] != seen[end + DOT_LATENCY]
