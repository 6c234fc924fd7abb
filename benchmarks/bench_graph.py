"""Seconds to a graph of Llama-2-7B: traced, cached, and where the time of a trace goes.

    python benchmarks/bench_graph.py [--model llama-2-7b]

Cold and cached are whole processes, the interpreter's start and a first Workload included; the
cache is a fresh folder. "processor" is what other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = {"cold": 10.0, "cached": 2.0}  # seconds
LOAD = "from plait.models.graph import load_graph; load_graph({!r}).bind('decode', 1, 256)"


def process_seconds(code: str, cache: str) -> tuple[float, float]:
    """Wall and processor time of an interpreter that runs ``code``."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PLAIT_CACHE": cache}, check=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trace_parts(model: str, scratch: Path) -> list[tuple[str, float]]:
    """Processor time of each step of a trace, in this process."""
    parts: list[tuple[str, float]] = []
    last = time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        parts.append((name, now - last))
        last = now

    from plait.models.graph.archive import load_archive, save
    from plait.models.graph.export import export_program, read_exported
    from plait.models.graph.lower import graph_from_program
    from plait.models.llm import build_decoder

    lap("import torch and plait")
    module = build_decoder(model)
    lap("build the module on the meta device")
    exported = export_program(module)
    lap("torch.export")
    program = read_exported(exported, model)
    lap("copy the program")
    graph = graph_from_program(program)
    lap("passes, names, folding")
    save(exported, scratch / "model.pt2")
    lap("save as .pt2")
    load_archive(scratch / "model.pt2")
    lap("load the .pt2 as a graph")
    graph.bind("decode", 1, 256)
    lap("bind")
    return parts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="llama-2-7b")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        for name, target in TARGETS.items():
            wall, processor = process_seconds(LOAD.format(model), folder)
            print(f"{name:8} {wall:6.2f} s, processor {processor:6.2f} s, target {target:g} s")
        parts = trace_parts(model, Path(folder))
    for name, seconds in parts:
        print(f"  {seconds:6.3f} s  {name}")
    print(f"bottleneck of a trace: {max(parts, key=lambda part: part[1])[0]}")


if __name__ == "__main__":
    main()
