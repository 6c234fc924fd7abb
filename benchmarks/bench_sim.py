"""Designs a second of the cost models: 100,000 machines running one decode step of Llama-2-7B.

python benchmarks/bench_sim.py [DESIGNS]
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable

import numpy as np

from plait.models.graph import Workload, load_graph
from plait.sim.families import bit_serial, roofline
from plait.sim.spec import load_accelerator

DESIGNS = 100_000
LIMIT_S = 1.0  # for 100,000 designs on one core
RUNS = 5


def main() -> int:
    """Print seconds and designs a second of each model, and where the time goes."""
    designs = int(sys.argv[1]) if len(sys.argv) > 1 else DESIGNS
    graph = load_graph("llama-2-7b")
    slowest = 0.0
    for name, run in (*serial(graph, designs), *rooflines(graph, designs)):
        seconds = min(processor_seconds(run) for _ in range(RUNS))
        slowest = max(slowest, seconds)
        print(f"{name:28} {seconds:7.3f} s {designs / seconds:12,.0f} designs/s  {bottleneck(run)}")
    limit = LIMIT_S * designs / DESIGNS
    print(f"{'limit':28} {limit:7.3f} s {designs / limit:12,.0f} designs/s")
    return int(slowest > limit)


def serial(graph: object, designs: int) -> list[tuple[str, Callable[[], object]]]:
    """Cycles, bytes, energy and area of bit-serial arrays of many shapes, ports and clocks."""
    machine = load_accelerator("bitmod-lossy")
    workload = step(graph, machine)
    draw = np.random.default_rng(0)
    design = bit_serial.Design.of(
        machine,
        "decode",
        **{
            "array.decode.rows": draw.integers(1, 257, designs),
            "array.decode.columns": draw.integers(1, 65, designs),
            "dram.port_bits_per_cycle": draw.choice([64, 128, 256, 512], designs),
            "clock_hz": draw.uniform(0.5e9, 2e9, designs),
        },
    )

    def case(fidelity: str) -> tuple[str, Callable[[], object]]:
        matmuls = bit_serial.matmuls_of(workload, fidelity)
        return f"bit_serial {fidelity}", lambda: bit_serial.totals(matmuls, design, fidelity)

    return [case("published"), case("closed_form")]


def rooflines(graph: object, designs: int) -> list[tuple[str, Callable[[], object]]]:
    """Seconds and bytes of GPUs with many bandwidths and peaks."""
    machine = load_accelerator("a100-40g")
    parts = roofline.closed_form_parts(step(graph, machine), machine)
    draw = np.random.default_rng(0)
    design = roofline.Design.of(
        machine,
        **{
            "memory.bandwidth_bytes_per_s": draw.uniform(0.5e12, 8e12, designs),
            "compute.fp16_operations_per_s": draw.uniform(1e14, 2e15, designs),
        },
    )
    return [("roofline closed_form", lambda: roofline.totals(parts, design))]


def step(graph: object, machine: object) -> Workload:
    """One token with 256 of context, in the formats the machine's paper used."""
    preset = machine.formats.resolve("llama-2-7b", "decode")
    return graph.bind("decode", 1, 256, defaults=preset or None)


def processor_seconds(run: Callable[[], object]) -> float:
    """Processor time of one run: other programs on the machine do not count."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def bottleneck(run: Callable[[], object]) -> str:
    """Name the function of ours with the largest own time, numpy's work inside it included."""
    profile = cProfile.Profile(builtins=False)
    profile.runcall(run)
    own = {
        name: times[2]
        for (file, _, name), times in pstats.Stats(profile).stats.items()
        if "/sim/" in file
    }
    worst = max(own, key=own.get)
    return f"{own[worst] / sum(own.values()):.0%} in {worst}"


if __name__ == "__main__":
    sys.exit(main())
