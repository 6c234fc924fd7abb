"""The files of a sparse DSP machine: library sources and the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.design import Design, render
from plait.hwgen.sparse_dsp.checked import expected_memory
from plait.hwgen.sparse_dsp.example import Example, example
from plait.hwgen.sparse_dsp.parameters import core_parameters
from plait.hwgen.verilog import LIBRARY, compile_order, enum_names, error_names
from plait.sim.compiler.kept import FORMAT_BITS
from plait.sim.spec.base import Phase
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["PHASES", "design", "expected_image", "program"]

PHASES: tuple[Phase, ...] = ("decode",)  # a step is what its programs compute
_FILE_LIST = LIBRARY / "sparse_dsp.f"
_MACHINE_PACKAGE = "sparse_dsp/plait_sd_machine_pkg.sv"
_BUILD_CONFIGURATION = Path(__file__).resolve().parent / "build.vlt"
_WAIVERS = "lint/waivers.vlt"
_PRIMITIVE = "models/DSP48E2.sv"  # for simulators; synthesis knows it


def design(machine: SparseDsp, phase: Phase, formats: Sequence[Any] | None) -> Design:
    """Put a machine together; its dequantiser knows integers of 8, 4, 3 and 2 bits, no others."""
    known = tuple(FORMAT_BITS)
    for name in formats or ():
        if name not in known:
            raise SpecError(
                "the machine's dequantiser lacks it",
                where="formats", got=str(name), expected=", ".join(known),
            )  # fmt: skip
    parameters = core_parameters(machine)
    sources = [*([_PRIMITIVE] if machine.core.dsp48e2 else []), *compile_order(_FILE_LIST)]
    files = {f"rtl/{name}": (LIBRARY / name).read_text() for name in sources}
    headers = [f"common/{path.name}" for path in sorted((LIBRARY / "common").glob("*.svh"))]
    files |= {f"rtl/{name}": (LIBRARY / name).read_text() for name in (*headers, _WAIVERS)}
    files["build.vlt"] = _BUILD_CONFIGURATION.read_text()
    files["plait_top.sv"] = render(
        "plait_top.sv.j2",
        core="plait_sd_core",
        machine_package="plait_sd_machine_pkg",
        machine=machine.name,
        phase=phase,
        parameters=parameters,
    )
    package = files[f"rtl/{_MACHINE_PACKAGE}"]
    return Design(
        machine=machine.name,
        family=machine.family,
        phase=phase,
        parameters=parameters,
        formats=known,
        files=files,
        sources=(*(f"rtl/{name}" for name in (_WAIVERS, *sources)), "build.vlt", "plait_top.sv"),
        include_folders=("rtl/common",),
        states=enum_names(package, "state_e", "Control"),
        counters=enum_names(package, "cause_e", "Cause"),
        errors=error_names(package),
    )


def program(design: Design, jobs: Sequence[Any] | None) -> Example:
    """A small program; the layers of a model are run by `plait cosimulate`."""
    if jobs is not None:
        raise SpecError("this family takes no list of jobs", where="jobs", got=len(jobs))
    return example(design)


def expected_image(design: Design, program: Example) -> NDArray[np.uint8]:
    """The memory as the machine must leave it, by the golden models."""
    return expected_memory(program.checked, program.image)
