"""The speed of the golden model of the bit-serial PE.

    python benchmarks/bench_golden.py

In terms (a weight's term times an activation) a second, best of the repeats. What its arithmetic
costs an LLM: document_bit_serial.py.
"""

from __future__ import annotations

import time

import numba
import numpy as np

from plait.models.golden.bit_serial_linear import linear
from plait.models.quantize import quantize

INPUTS, OUTPUTS, TOKENS = 1536, 576, 256
REPEATS = 3
TARGET = 200e6  # terms a second on two cores
OPERAND_BYTES = 1 + 1 + 1 + 2  # exponent (read in two passes), sign, mantissa
WIDTHS = (15, 24, 32)


def speed(name: str, accumulator_bits: int) -> tuple[float, float]:
    """Terms a second of wall time and of processor time."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    tensor = quantize(weight, name, group_size=128, scale_bits=8)
    activations = rng.standard_normal((TOKENS, INPUTS)).astype(np.float16)
    linear(tensor, activations[:1], accumulator_bits=accumulator_bits)  # compiles
    walls, processors = [], []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        linear(tensor, activations, accumulator_bits=accumulator_bits)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    terms = OUTPUTS * INPUTS * TOKENS * tensor.format.term_count
    return terms / min(walls), terms / min(processors)


def print_speeds() -> None:
    """Compare with the target; the inner loops are bound by integer arithmetic, not by memory."""
    threads = numba.get_num_threads()
    print(f"M terms a second: wall with {threads} threads | a second of processor time")
    best = 0.0
    for name in ("bitmod4", "int8"):
        for bits in WIDTHS:
            wall, processor = speed(name, bits)
            best = max(best, processor)
            print(f"{name:8} accumulator {bits}: {wall / 1e6:7.0f} | {processor / 1e6:7.0f}")
    print(f"target: {TARGET / 1e6:.0f} on two cores")
    gigabytes = best * OPERAND_BYTES / 1e9
    print(
        f"bound by the arithmetic of the inner loops: the operands, {OPERAND_BYTES} bytes a term,"
    )
    print(f"are {gigabytes:.1f} GB/s a core, a small part of what its first cache delivers")


if __name__ == "__main__":
    print_speeds()
