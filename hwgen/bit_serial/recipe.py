"""The files of a bit-serial machine: library sources, the format package, the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.bit_serial.assemble import Multiplication, Program, assemble
from plait.hwgen.bit_serial.memory_image import result_image
from plait.hwgen.bit_serial.package import DEFAULT_FORMATS, bit_serial_package
from plait.hwgen.bit_serial.parameters import check_guard_bits, core_parameters, geometry
from plait.hwgen.design import Design, render
from plait.hwgen.verilog import LIBRARY, compile_order, enum_names, error_names
from plait.models import formats as registry
from plait.models.formats import Format
from plait.models.golden.bit_serial_linear import linear
from plait.models.quantize import quantize
from plait.sim.spec.base import Phase
from plait.sim.spec.bit_serial import BitSerial

__all__ = ["PHASES", "design", "expected_image", "golden_outputs", "program"]

PHASES: tuple[Phase, ...] = ("decode", "prefill")  # an array for each
_FILE_LIST = LIBRARY / "bit_serial.f"
_FORMAT_PACKAGE = "bit_serial/plait_bs_pkg.sv"
_MACHINE_PACKAGE = "bit_serial/plait_bs_machine_pkg.sv"
_BUILD_CONFIGURATION = Path(__file__).resolve().parent / "build.vlt"
_WAIVERS = "lint/waivers.vlt"
_MOST_FORMATS = 16  # the descriptor names a format by four bits


def design(machine: BitSerial, phase: Phase, formats: Sequence[str | Format] | None) -> Design:
    """Put a machine together.

    Args:
        formats: weight formats its decoder knows; by default those of DEFAULT_FORMATS that it has
            terms for, and the machine's own.
    """
    parameters = core_parameters(machine, phase)
    chosen = _formats(machine, phase, formats)
    largest = max(int(fmt.terms().exp.max()) for fmt in chosen)
    check_guard_bits(machine.name, parameters["GuardBits"], largest)
    sources = compile_order(_FILE_LIST)
    files = {f"rtl/{name}": (LIBRARY / name).read_text() for name in sources}
    files[f"rtl/{_FORMAT_PACKAGE}"] = bit_serial_package([fmt.name for fmt in chosen])
    headers = [f"common/{path.name}" for path in sorted((LIBRARY / "common").glob("*.svh"))]
    files |= {f"rtl/{name}": (LIBRARY / name).read_text() for name in (*headers, _WAIVERS)}
    files["build.vlt"] = _BUILD_CONFIGURATION.read_text()
    files["plait_top.sv"] = render(
        "plait_top.sv.j2",
        core="plait_bs_core",
        machine_package="plait_bs_machine_pkg",
        machine=machine.name,
        phase=phase,
        parameters=parameters,
    )
    machine_package = files[f"rtl/{_MACHINE_PACKAGE}"]
    return Design(
        machine=machine.name,
        family=machine.family,
        phase=phase,
        parameters=parameters,
        formats=tuple(fmt.name for fmt in chosen),
        files=files,
        sources=(*(f"rtl/{name}" for name in (_WAIVERS, *sources)), "build.vlt", "plait_top.sv"),
        include_folders=("rtl/common",),
        states=enum_names(machine_package, "state_e", "Sequencer"),
        counters=enum_names(machine_package, "cause_e", "Cause"),
        errors=error_names(machine_package),
    )


def program(design: Design, jobs: Sequence[Multiplication] | None) -> Program:
    """Lay out what the machine shall compute; a small example unless given."""
    return assemble(
        _example_jobs(design) if jobs is None else jobs,
        geometry(design.parameters),
        design.formats,
    )


def golden_outputs(design: Design, job: Multiplication) -> NDArray[np.float32]:
    """What the machine must write for a job, float32 [tokens, outputs]."""
    parameters = design.parameters
    return linear(
        job.weights,
        job.activations,
        lanes=parameters["Lanes"],
        guard_bits=parameters["GuardBits"],
        accumulator_bits=parameters["AccumulatorBits"],
        output_accumulator_bits=parameters["OutputAccumulatorBits"],
        scale_bits=parameters["ScaleBits"],
    )


def expected_image(design: Design, program: Program) -> NDArray[np.uint8]:
    """The region of results as the machine must leave it, by the golden model."""
    blocks = [
        result_image(golden_outputs(design, job), shape)
        for job, shape in zip(program.jobs, program.shapes, strict=True)
    ]
    return np.concatenate(blocks)


def _formats(
    machine: BitSerial, phase: Phase, names: Sequence[str | Format] | None
) -> list[Format]:
    if names is None:
        own = machine.formats.resolve("", phase).get("weight")
        fitting = (registry.get(name) for name in DEFAULT_FORMATS)
        names = [fmt for fmt in fitting if fmt.term_count <= machine.pe.max_terms]
        names += [own] if isinstance(own, str) else []
    chosen = list(dict.fromkeys(registry.get(name) for name in names))
    if not 1 <= len(chosen) <= _MOST_FORMATS:
        raise SpecError(
            "the descriptor cannot tell so many formats apart",
            where="formats",
            got=len(chosen),
            expected=f"1 to {_MOST_FORMATS}",
        )
    for fmt in chosen:
        if fmt.is_asymmetric:
            raise SpecError("the machine has no zero points", where="formats", got=fmt.name)
        if fmt.term_count > machine.pe.max_terms:
            raise SpecError(
                f"a weight needs {fmt.term_count} terms",
                where=f"formats: {fmt.name}",
                expected=f"at most {machine.pe.max_terms} (pe.max_terms of {machine.name})",
            )
    return chosen


def _example_jobs(design: Design) -> list[Multiplication]:
    """One small job a format, ragged in every direction: tiles, groups and steps."""
    rng = np.random.default_rng(0)
    rows, columns = design.parameters["Rows"], design.parameters["Columns"]
    lanes = design.parameters["Lanes"]
    jobs = []
    for index, name in enumerate(design.formats):
        weights = rng.standard_normal((rows + rows // 2 + 1, 21 * lanes + 1))
        activations = rng.standard_normal((columns + 1, weights.shape[1]))
        tensor = quantize(weights, name, group_size=8 * lanes, scale_bits=8)
        is_int8 = index % 2 == 1
        jobs.append(
            Multiplication(
                tensor,
                np.rint(40 * activations).clip(-128, 127).astype(np.int8)
                if is_int8
                else activations.astype(np.float16),
            )
        )
    return jobs
