"""The golden model of the bit-serial PE: its speed, and what its arithmetic costs an LLM.

    python benchmarks/bench_golden.py
    python benchmarks/bench_golden.py --perplexity [--format bitmod4] [--window 256] [--windows 2]

Speed is in terms (a weight's term times an activation) a second, best of the repeats. Perplexity is
of SmolLM2-135M on the text that comes with it, groups of 64, second-level
scales: the format's own (FP32 arithmetic), then that of the hardware for accumulators of 15, 24
and 32 bits with FP16 activations, and with INT8 activations.
"""

from __future__ import annotations

import argparse
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
WINDOW = 256  # tokens


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


def print_perplexities(names: list[str], window: int, windows: int) -> None:
    """The format's own perplexity beside that of the hardware."""
    from plait.demo import text as bundled_text
    from plait.models.golden.execute import on_hardware
    from plait.models.llm.weights import load_module
    from plait.models.quantize.metrics import perplexity
    from plait.models.quantize.swap import quantize_module

    module, text = load_module("smollm2-135m"), bundled_text()
    print(f"perplexity over {windows} windows of {window} tokens; FP32 weights as stored (Q4_1): "
          f"{perplexity(module, text, window, windows):.3f}")  # fmt: skip
    for name in names:
        small = quantize_module(module, name, group_size=64, scale_bits=8)
        own = perplexity(small, text, window, windows)
        row = [f"{name:8} own {own:.3f}"]
        for bits in WIDTHS:
            chip = on_hardware(small, accumulator_bits=bits)
            row.append(f"fp16/{bits} {perplexity(chip, text, window, windows):.3f}")
        chip = on_hardware(small, "int8")
        row.append(f"int8 {perplexity(chip, text, window, windows):.3f}")
        print(" | ".join(row), flush=True)


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--perplexity", action="store_true")
    parser.add_argument("--format", nargs="+", default=["bitmod3", "bitmod4", "int6", "int8"])
    parser.add_argument("--window", type=int, default=WINDOW)
    parser.add_argument("--windows", type=int, default=2)
    options = parser.parse_args()
    if options.perplexity:
        print_perplexities(options.format, options.window, options.windows)
    else:
        print_speeds()


if __name__ == "__main__":
    main()
