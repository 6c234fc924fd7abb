"""Quantising speed of every format, and what bounds bitmod4.

    python benchmarks/bench_formats.py [--rows 4096] [--format bitmod4 ...]

Weights a second, best of the repeats, all threads that numba uses; codes, scales and selectors in
memory at the end. "per core" divides by the processor time instead, which other programs on the
machine disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np

from plait.errors import FormatError
from plait.models import formats
from plait.models.quantize import quantize, rtn
from plait.models.quantize import scales as rules

INPUTS = 4096
GROUP = 128
NAMES = [name for name in formats.names() if formats.get(name).has_table]
REPEATS = 3
TARGET_BITMOD4 = 50e6  # weights a second on two cores
COPY_BYTES = 1 << 28


def best_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Least wall time and least processor time of a few runs, after one that compiles."""
    work()
    walls, processors = [], []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors)


def copy_bandwidth() -> float:
    """Bytes a second read and written by a plain copy: the memory's pace."""
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    wall, _ = best_seconds(lambda: np.copyto(target, source))
    return 2 * COPY_BYTES / wall


def formats_table(weight: np.ndarray, names: list[str]) -> dict[str, float]:
    """Print a line a format that rounding alone can give; weights a second."""
    speeds = {}
    print(f"{'format':12} {'M weights/s':>12} {'per core':>9}")
    for name in names:
        try:
            wall, processor = best_seconds(lambda name=name: quantize(weight, name))
        except FormatError as error:
            print(f"{name:12} {error}")
            continue
        speeds[name] = weight.size / wall
        print(f"{name:12} {speeds[name] / 1e6:12.1f} {weight.size / processor / 1e6:9.1f}")
    return speeds


def bitmod4_stages(weight: np.ndarray, whole: float) -> None:
    """Time the parts of bitmod4, and say which one bounds it."""
    fmt = formats.get("bitmod4")
    largest = rules.largest_weights(weight, GROUP, per_tensor=False)
    scales = rules.grid_scales(fmt, largest)
    stages = {
        "check for NaN": lambda: rtn.check_weight(weight),
        "largest of a group": lambda: rules.largest_weights(weight, GROUP, per_tensor=False),
        "scales": lambda: rules.grid_scales(fmt, largest),
        "one grid: encode": lambda: rtn._encode(weight, fmt, GROUP, scales, only=0),
        "four grids: choose, encode": lambda: rtn._encode(weight, fmt, GROUP, scales),
    }
    nanoseconds = {
        stage: 1e9 * best_seconds(work)[1] / weight.size for stage, work in stages.items()
    }
    print("\nbitmod4, nanoseconds of one core a weight")
    for stage, time_ns in nanoseconds.items():
        print(f"  {stage:28} {time_ns:6.2f}")
    choosing = nanoseconds["four grids: choose, encode"] - nanoseconds["one grid: encode"]
    total = sum(nanoseconds.values()) - nanoseconds["one grid: encode"]
    moved = weight.nbytes * 3 + weight.size  # read by three passes, one byte of code written
    bandwidth = copy_bandwidth()
    share = moved / (weight.size / whole) / bandwidth
    print(f"  memory: {100 * share:.0f} % of the {bandwidth / 1e9:.1f} GB/s of a plain copy")
    print(
        f"bottleneck: arithmetic, {100 * choosing / total:.0f} % in trying the four grids"
        if share < 0.5
        else "bottleneck: memory bandwidth"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--format", nargs="*", default=NAMES)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    weight = random.standard_normal((arguments.rows, INPUTS), np.float32) * np.float32(0.02)
    print(f"{arguments.rows} x {INPUTS} weights, {numba.get_num_threads()} threads")
    speeds = formats_table(weight, arguments.format)
    if "bitmod4" in speeds:
        bitmod4_stages(weight, speeds["bitmod4"])
        verdict = "reached" if speeds["bitmod4"] >= TARGET_BITMOD4 else "MISSED"
        print(f"target: {TARGET_BITMOD4 / 1e6:.0f} M weights/s, {verdict}")


if __name__ == "__main__":
    main()
