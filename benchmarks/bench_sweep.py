"""Designs a second of sweeps: 10^6 bit-serial machines running one decode step of Llama-2-7B.

python benchmarks/bench_sweep.py [DESIGNS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plait.models.graph import load_graph
from plait.sim.sweep import load_space, sweep

DESIGNS = 1_000_000
LIMIT_VECTORISED_S = 1.0  # in memory, on two cores
LIMIT_COMMAND_S = 10.0  # from the command line, file written


def main() -> int:
    """Print seconds and designs a second, in memory by fidelity and as a command."""
    designs = int(sys.argv[1]) if len(sys.argv) > 1 else DESIGNS
    graph = load_graph("llama-2-7b")
    limit = LIMIT_VECTORISED_S * designs / DESIGNS
    seconds = {}
    for fidelity in ("published", "closed_form"):
        space = load_space(described(designs, fidelity), graph)
        sweep(load_space(described(1000, fidelity), graph))  # compiles nothing, but fills caches
        begun = time.perf_counter()
        found = len(sweep(space))
        seconds[fidelity] = time.perf_counter() - begun
        show(f"in memory, {fidelity}", found, seconds[fidelity], limit)
    space = load_space(described(designs, "closed_form", last="buffers.activation_bytes"), graph)
    begun = time.perf_counter()
    found = len(sweep(space))
    show("the same, all cycles differ", found, time.perf_counter() - begun, limit)
    took = command(designs)
    show("command line, file written", designs, took, LIMIT_COMMAND_S * designs / DESIGNS)
    print("bottleneck: matmul_cycles' divisions, a row for each set of designs of equal cycles")
    return int(min(seconds.values()) > limit or took > LIMIT_COMMAND_S * designs / DESIGNS)


LAST = {
    "clock_hz": {"from": 0.5e9, "to": 2e9},
    "buffers.activation_bytes": {"from": 65536, "to": 1048576},
}


def described(
    designs: int, fidelity: str = "closed_form", last: str = "clock_hz"
) -> dict[str, object]:
    """A space of that many designs: rows, columns, port and one more axis, of ``LAST``.

    Designs that differ in their clock only run the same cycles, which are counted once.
    """
    return {
        "model": "llama-2-7b",
        "machine": "bitmod-lossy",
        "fidelity": fidelity,
        "vary": {
            "array.decode.rows": {"from": 4, "to": 400, "step": 4},
            "array.decode.columns": [1, 2, 4, 8, 16],
            "dram.port_bits_per_cycle": [64, 128, 256, 512],
            last: {**LAST[last], "count": max(2, designs // 2000)},
        },
    }


def command(designs: int) -> float:
    """Seconds of `plait sweep` on the same space, from start to exit."""
    clocks = max(2, designs // 2000)
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(
            "model: llama-2-7b\nmachine: bitmod-lossy\nvary:\n"
            "  array.decode.rows: {from: 4, to: 400, step: 4}\n"
            "  array.decode.columns: [1, 2, 4, 8, 16]\n"
            "  dram.port_bits_per_cycle: [64, 128, 256, 512]\n"
            f"  clock_hz: {{from: 0.5e9, to: 2e9, count: {clocks}}}\n"
        )
        plait = "import sys; from plait.cli import main; sys.exit(main())"
        arguments = ["-c", plait, "sweep", str(space), "-o", str(Path(folder) / "a.parquet")]
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun


def show(what: str, designs: int, seconds: float, limit: float) -> None:
    """Print one line."""
    print(f"{what:28} {seconds:7.2f} s {designs / seconds:12,.0f} designs/s  limit {limit:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
