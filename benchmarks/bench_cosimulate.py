"""Clock cycles a second of the generated Verilog: native harness, and cocotb for comparison.

    python benchmarks/bench_cosimulate.py [--cocotb] [MACHINE ...]

A 576 x 576 linear in bitmod4 on 16 tokens in the native harness, on one core; processor time of the
simulator alone, its memory files included, the best of three runs. The first run of a machine
builds its simulator, for minutes. With --cocotb also 64 x 256 weights on 8 tokens of bitmod-small
in the bench of tests/rtl, compiled with the same optimisation; its start is measured by a shorter
run and taken off.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

from plait.cosimulation import cosimulate, machine_of
from plait.hwgen.generate import design_of
from plait.models.quantize import quantize
from plait.sim import load_accelerator

MACHINES = ["bitmod-small", "bitmod-64x1"]
TESTS = Path(__file__).resolve().parents[1] / "tests/rtl"


def operands(outputs: int, inputs: int, tokens: int):
    """A tensor in bitmod4 and FP16 activations."""
    rng = np.random.default_rng(0)
    tensor = quantize(rng.standard_normal((outputs, inputs)), "bitmod4", 64, scale_bits=8)
    return tensor, rng.standard_normal((tokens, inputs)).astype(np.float16)


def native(machine: str) -> float:
    """Cycles a second in the C++ harness."""
    tensor, inputs = operands(576, 576, 16)
    cosimulate(machine, tensor, inputs)  # builds it
    best = float("inf")
    for _ in range(3):
        before = children_seconds()
        result = cosimulate(machine, tensor, inputs)
        best = min(best, children_seconds() - before)
    rate = result.cycles_measured / best
    print(f"native, {result.machine}: {result.cycles_measured} cycles, {rate:,.0f} cycles/s")
    return rate


def cocotb(machine: str) -> float:
    """Cycles a second of the same core in the bench of tests/rtl."""
    sys.path += [str(TESTS), str(TESTS / "bit_serial")]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[-2:])
    from harness import build
    from machine_cases import Memory, Multiplication, program_case, save

    design = design_of(load_accelerator(machine))
    parameters = design.parameters
    arithmetic = {
        "accumulator_bits": parameters["AccumulatorBits"],
        "guard_bits": parameters["GuardBits"],
    }
    seconds, cycles = [], []
    with tempfile.TemporaryDirectory() as name:
        options = ("-O3", "-CFLAGS", "-O3")
        run = build("plait_bs_core", Path(name) / "build", options=options, **parameters)
        for outputs in (8, 64):
            job = Multiplication(*operands(outputs, 256, 8))
            cases = [
                program_case(machine_of(design), arithmetic, [job], Memory(threshold=0)),
                program_case(machine_of(design), arithmetic, [job], Memory(threshold=1)),
            ]
            before = children_seconds()
            run("cocotb_bs_core", seeds=(1,), environment=save(cases, Path(name)))
            seconds.append(children_seconds() - before)
            cycles.append(sum(sum(case["counters"]) for case in cases))
    rate = (cycles[1] - cycles[0]) / (seconds[1] - seconds[0])
    print(f"cocotb, {machine}: {cycles[1]} cycles, {rate:,.0f} cycles/s")
    return rate


def children_seconds() -> float:
    """Processor time of the processes that ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machines", nargs="*", default=MACHINES)
    parser.add_argument("--cocotb", action="store_true")
    options = parser.parse_args()
    rates = [native(machine) for machine in options.machines]
    if options.cocotb:
        print(f"native / cocotb: {rates[0] / cocotb(options.machines[0]):.0f}")


if __name__ == "__main__":
    main()
