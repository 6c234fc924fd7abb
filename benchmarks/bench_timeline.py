"""Speed of the timeline engine, and of one published step from the graph to the report.

python benchmarks/bench_timeline.py
"""

from __future__ import annotations

import time

import numpy as np

from plait.models.graph import load_graph
from plait.sim import load_accelerator, simulate
from plait.sim.compiler.instruction import Program
from plait.sim.compiler.published import in_order, units
from plait.sim.compiler.unit import whole
from plait.sim.families.sparse_dsp_times import durations, rates
from plait.sim.timeline import run
from plait.sim.timeline.twin import simulate as twin

STEPS = 40  # of decode, chained: some four million instructions
TWIN_INSTRUCTIONS = 20_000


def main() -> None:
    """Print instructions a second of processor time."""
    graph = load_graph("llama-2-7b")
    machine = load_accelerator("flightllm-vhk158")
    formats = machine.formats.resolve(graph.name, "decode")
    step = whole(in_order(units(graph.bind("decode", 1, 1024, None, formats), machine)))
    program = Program.join([step] * STEPS)
    times = durations(program, rates(machine))
    run(step, times[: len(step)])  # compiles or loads the kernel
    begin = time.process_time()
    run(program, times)
    _say("engine", len(program), time.process_time() - begin)
    part = Program({name: values[:TWIN_INSTRUCTIONS] for name, values in step.columns.items()})
    begin = time.process_time()
    twin(part, np.asarray(times[:TWIN_INSTRUCTIONS]).tolist())
    _say("readable twin", len(part), time.process_time() - begin)
    for fidelity in ("published", "timeline", "closed_form"):
        begin = time.process_time()
        simulate(graph, machine, context=777, fidelity=fidelity)
        print(f"one decode step, {fidelity}: {time.process_time() - begin:.3f} s")


def _say(what: str, instructions: int, seconds: float) -> None:
    print(f"{what}: {instructions:,} instructions, {instructions / seconds / 1e6:.2f} M/s")


if __name__ == "__main__":
    main()
