"""Clock cycles a second of the generated Verilog in the native harness, on one core.

    python benchmarks/bench_cosimulate.py [MACHINE ...]

A 576 x 576 linear in bitmod4 on 16 tokens; processor time of the simulator alone, its memory files
included, the best of three runs. The first run of a machine builds its simulator, for minutes.
"""

from __future__ import annotations

import resource
import sys

import numpy as np

from plait.cosimulation import cosimulate
from plait.models.quantize import quantize

MACHINES = ["bitmod-small", "bitmod-64x1"]


def main(machines: list[str]) -> None:
    rng = np.random.default_rng(0)
    tensor = quantize(rng.standard_normal((576, 576)), "bitmod4", group_size=64, scale_bits=8)
    inputs = rng.standard_normal((16, 576)).astype(np.float16)
    for machine in machines:
        cosimulate(machine, tensor, inputs)  # builds it
        best = float("inf")
        for _ in range(3):
            before = children_seconds()
            result = cosimulate(machine, tensor, inputs)
            best = min(best, children_seconds() - before)
        rate = result.cycles_measured / best
        print(f"{result.machine}: {result.cycles_measured} cycles, {rate:,.0f} cycles/s")


def children_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


if __name__ == "__main__":
    main(sys.argv[1:] or MACHINES)
