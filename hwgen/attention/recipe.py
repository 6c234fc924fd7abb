"""The files of an attention device: library sources, the package of its widths, the top."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.attention.assemble import Job, Program, assemble, encode_partial
from plait.hwgen.attention.layout import Geometry
from plait.hwgen.attention.package import attention_package
from plait.hwgen.attention.parameters import device_parameters, unit_of, widths_of
from plait.hwgen.design import Design, render
from plait.hwgen.verilog import LIBRARY, compile_order, enum_names, error_names
from plait.models.golden.attention import Partial, Widths
from plait.models.golden.attention_operands import (
    Query,
    attend_cache,
    dense,
    encode_cache,
    fold_query,
    lambda_segments,
)
from plait.sim.spec.base import Phase
from plait.sim.spec.offload import Offload

__all__ = [
    "PHASES",
    "design",
    "expected_image",
    "golden_partial",
    "needs_second_run",
    "program",
    "widths_in",
]

PHASES: tuple[Phase, ...] = ("decode",)  # a step has one query a sequence
_FILE_LIST = LIBRARY / "attention.f"
_PACKAGE = "attention/plait_at_pkg.sv"
_MACHINE_PACKAGE = "attention/plait_at_machine_pkg.sv"
_WAIVERS = "lint/waivers.vlt"
_NOT_IN_A_DEVICE = ("attention/plait_at_combine.sv",)  # combining is the compute device's
_INTEGER_FORMATS = ("int8",)


def design(machine: Offload, phase: Phase, formats: Sequence[Any] | None) -> Design:
    """Put a device together.

    Args:
        formats: of keys and values: the device takes 8-bit integers, whatever they stand for.
    """
    if formats is not None and tuple(formats) != _INTEGER_FORMATS:
        raise SpecError(
            "the device knows one format of keys and values",
            where="formats",
            got=list(formats),
            expected="int8",
        )
    parameters = device_parameters(machine)
    sources = [name for name in compile_order(_FILE_LIST) if name not in _NOT_IN_A_DEVICE]
    files = {f"rtl/{name}": (LIBRARY / name).read_text() for name in sources}
    files[f"rtl/{_PACKAGE}"] = attention_package(widths_of(unit_of(machine)))
    headers = [f"common/{path.name}" for path in sorted((LIBRARY / "common").glob("*.svh"))]
    files |= {f"rtl/{name}": (LIBRARY / name).read_text() for name in (*headers, _WAIVERS)}
    files["plait_top.sv"] = render(
        "plait_top.sv.j2",
        core="plait_at_device",
        machine_package="plait_at_machine_pkg",
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
        formats=_INTEGER_FORMATS,
        files=files,
        sources=(*(f"rtl/{name}" for name in (_WAIVERS, *sources)), "plait_top.sv"),
        include_folders=("rtl/common",),
        states=enum_names(machine_package, "state_e", "Device"),
        counters=enum_names(machine_package, "cause_e", "Cause"),
        errors=error_names(machine_package),
    )


def widths_in(design: Design) -> Widths:
    """The widths in a design's package."""
    text = design.files[f"rtl/{_PACKAGE}"]
    found = dict(re.findall(r"localparam int unsigned (\w+) = (\d+);", text))
    return Widths(**{name: int(found[name.upper()]) for name in Widths.__dataclass_fields__})


def program(design: Design, jobs: Sequence[Job] | None) -> Program:
    """Lay out what the device shall compute; a small example unless given."""
    return assemble(
        _example_jobs(design) if jobs is None else jobs,
        Geometry.of(design.parameters),
        widths_in(design),
    )


def golden_partial(job: Job, widths: Widths) -> Partial:
    """What the device must find for a job."""
    return attend_cache(
        job.query,
        job.cache,
        job.value_shift,
        widths,
        segments=job.segments,
        unified=job.unified,
    )


def expected_image(design: Design, program: Program) -> NDArray[np.uint8]:
    """The region of results as the device must leave it, by the golden model."""
    geometry = program.geometry
    blocks = []
    for job in program.jobs:
        whole = _with_idle_heads(job, geometry)
        blocks.append(encode_partial(golden_partial(whole, program.widths), geometry))
    return np.concatenate(blocks)


def needs_second_run(job: Job, program: Program) -> bool:
    """Whether the job's unified maximum does not suit one of the device's heads."""
    if job.unified is None:
        return False
    return golden_partial(_with_idle_heads(job, program.geometry), program.widths).recomputed


def _with_idle_heads(job: Job, geometry: Geometry) -> Job:
    """A device computes heads that a job lacks, too: with queries of zero."""
    idle = geometry.query_heads - len(job.query.integers)
    query = Query(
        np.pad(job.query.integers, ((0, idle), (0, 0))),
        np.pad(job.query.exponents, (0, idle), constant_values=16),
        np.pad(job.query.halves, ((0, idle), (0, 0))),
    )
    return Job(query, job.cache, job.segments, job.value_shift, job.unified)


def _example_jobs(design: Design) -> list[Job]:
    """All of a small cache, a Lambda mask, two unified maxima of which one suits, no token."""
    rng = np.random.default_rng(0)
    geometry, tokens = Geometry.of(design.parameters), 40
    cache = encode_cache(*rng.standard_normal((2, tokens, geometry.head_size)))
    query = fold_query(2 * rng.standard_normal((geometry.query_heads, geometry.head_size)))
    shift, none = cache.value_shift, np.zeros((0, 2), np.int64)
    top = int(golden_partial(Job(query, cache, dense(tokens), shift), Widths()).reference.max())
    return [
        Job(query, cache, dense(tokens), shift),
        Job(query, cache, lambda_segments(tokens, 4, 18), shift),
        Job(query, cache, dense(tokens), shift, unified=top),
        Job(query, cache, dense(tokens), shift, unified=top - 1),
        Job(query, cache, none, shift),
    ]
