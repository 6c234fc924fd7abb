"""The measured error of the sparse DSP family: published rows, hardware, our counts, Verilog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from plait.measured import Error, graph, reference, relative
from plait.sim import load_accelerator, simulate
from plait.sim.spec.sparse_dsp import SparseDsp

if TYPE_CHECKING:
    from plait.hwgen.sparse_dsp.checked import CheckedProgram
    from plait.sim.report.report import Report

__all__ = ["MEASURED_CYCLES", "measure"]

# One decode step of Llama-2-7B on a U280 at 225 MHz, counted by the chip itself: a third party's
# measurement of the authors' package. Context -> cycles.
MEASURED_CYCLES = {128: 3_937_100, 512: 4_272_163}

_MODEL = "llama-2-7b"
_QUEUES = ("ld", "st", "mm", "mv", "misc", "sys")
_MILLISECOND_DECIMALS = 6
_VERILOG = "flightllm-small"
_LAYER_OF, _CONTEXT = "smollm2-135m", 16
_RUNS = ((0, 0.0), (1, 0.0), (2, 0.1), (3, 0.5))  # seed of the program, probability of a stall


def measure() -> Iterator[Error]:
    """Measure all of it."""
    yield from _published()
    yield from _hardware()
    yield from _fidelities()
    yield from _verilog()


def _published() -> Iterator[Error]:
    """The 61 rows of the published simulator: one prefill, 60 decode steps, on a VHK158."""
    seconds, counts = [], []
    for row in reference("flightllm.csv"):
        report = _run("flightllm-vhk158", row["phase"], int(row["tokens"]), "published")
        units = report.totals["units"]
        times = {f"{queue}_ms": units[queue]["seconds"] * 1e3 for queue in _QUEUES}
        times["total_ms"] = report.seconds * 1e3
        for name, ours in times.items():
            if float(row[name]):
                seconds.append(relative(round(ours, _MILLISECOND_DECIMALS), float(row[name])))
        counts += [
            relative(units[queue]["instructions"], int(row[f"{queue}_n"]))
            for queue in _QUEUES
            if int(row[f"{queue}_n"])
        ]
    machine = "`sparse_dsp`, `published`"
    against = "rows of the FlightLLM authors' simulator"
    yield Error(
        f"times by queue of {machine}", f"{against}, 6 decimals", len(seconds), max(seconds)
    )
    yield Error(f"instructions by queue of {machine}", against, len(counts), max(counts))


def _hardware() -> Iterator[Error]:
    """The two measured decode steps, for the published model and for ours."""
    for fidelity in ("published", "closed_form"):
        errors = [
            relative(_cycles("flightllm-u280", "decode", n, fidelity), measured)
            for n, measured in MEASURED_CYCLES.items()
        ]
        what = f"cycles of `flightllm-u280`, `{fidelity}`"
        yield Error(what, "decode steps measured on a U280", len(errors), max(errors))


def _fidelities() -> Iterator[Error]:
    """Ours added up against ours run, in both phases."""
    steps = [("decode", n) for n in (1, 128, 500, 2048)] + [("prefill", n) for n in (64, 256)]
    errors = [
        relative(_cycles(machine, phase, n, "closed_form"), _cycles(machine, phase, n, "timeline"))
        for machine in ("flightllm-u280", "flightllm-vhk158")
        for phase, n in steps
    ]
    what = "cycles of `sparse_dsp`, `closed_form`"
    yield Error(what, "`timeline` of the same programs", len(errors), max(errors))


def _verilog() -> Iterator[Error]:
    """Programs of random numbers: MV, MM, every density, width and special function; a layer."""
    from plait.cosimulation_sparse import predicted, run_checked
    from plait.hwgen.generate import design_of
    from plait.hwgen.sparse_dsp.example import example

    machine = load_accelerator(_VERILOG)
    assert isinstance(machine, SparseDsp)
    design = design_of(machine)
    programs = [(example(design, seed).checked, seed, stall) for seed, stall in _RUNS]
    layer, from_shapes = _layer(machine)
    compared, different, cycles = 0, 0, []
    for program, seed, stall in [*programs, (layer, 0, 0.0)]:
        image, expected = program.image(), predicted(program, stall, seed).times.cycles
        run = run_checked(design, image, expected, stall, seed)
        compared += sum(check.vector.elements for check in program.checks)
        different += sum(program.different(image, run.results).values())
        cycles.append(relative(expected, run.cycles))
    verilog = f"the Verilog of `{_VERILOG}`"
    yield Error(
        f"results of {verilog}", "golden model, bit for bit", compared, different / compared
    )
    yield Error(
        f"cycles of {verilog}, with and without stalls", "recurrence", len(cycles), max(cycles)
    )
    yield Error(
        f"cycles of a layer of the sizes of SmolLM2 on {verilog}",
        "`verilog`: compiled from shapes and densities alone",
        1,
        relative(from_shapes, run.cycles),
    )


def _layer(machine: SparseDsp) -> tuple[CheckedProgram, float]:
    """A pruned layer of random weights, compiled; and its cycles as `simulate` has them."""
    from plait.hwgen.sparse_dsp.checked import CheckedProgram
    from plait.hwgen.sparse_dsp.example import random_layer
    from plait.hwgen.sparse_dsp.layer import append_layer
    from plait.sim.compiler.core import core_of

    model = graph(_LAYER_OF)
    formats = machine.formats.resolve(model.name, "decode")
    workload = model.bind("decode", 1, _CONTEXT, None, formats)
    program = CheckedProgram(core_of(machine))
    append_layer(program, workload, machine, random_layer(np.random.default_rng(0), workload))
    table = simulate(workload, machine, fidelity="verilog").table
    inside = table[table["count"] == len(model.layers)]
    return program, float(inside["cycles"].sum() / len(model.layers))


def _cycles(machine: str, phase: str, context: int, fidelity: str) -> float:
    return float(_run(machine, phase, context, fidelity).totals["cycles"])


def _run(machine: str, phase: str, context: int, fidelity: str) -> Report:
    return simulate(graph(_MODEL), machine, phase=phase, context=context, fidelity=fidelity)
