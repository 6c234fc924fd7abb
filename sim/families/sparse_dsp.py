"""Family sparse_dsp: chains of DSP slices behind six instruction queues (FlightLLM).

Four fidelities: ``published`` is the performance model of FlightLLM's authors; ``timeline`` runs
the programs of our own compiler through the same queues; ``closed_form`` adds up what these
programs do without making them; both add decode units. ``verilog`` costs a machine that there is
Verilog of with the very program that the Verilog runs. `plait.sim.families.sparse_dsp_own` says how
ours differs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import SpecError
from plait.sim.families.breakdown import Breakdown
from plait.sim.families.decode_units import INT8, decoding, refuse_units
from plait.sim.families.sparse_dsp_own import closed_form, run_plan, timeline
from plait.sim.families.sparse_dsp_published import published, timed
from plait.sim.families.sparse_dsp_verilog import run_units, verilog

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.sparse_dsp import SparseDsp
    from plait.sim.timeline.trace import Span

__all__ = ["FIDELITIES", "trace"]


def _published(workload: Workload, machine: SparseDsp) -> Breakdown:
    refuse_units(workload, machine.name, "the published simulator")
    return published(workload, machine)


def _decoded(
    model: Callable[[Workload, SparseDsp], Breakdown], workload: Workload, machine: SparseDsp
) -> Breakdown:
    """Add what the decode units of the cores take longer; each core decodes its share."""
    decoded = decoding(workload, machine, takes=(INT8,))
    found = model(workload, machine)
    if not decoded.works:
        return found
    cycle = 1 / (machine.clock_hz * machine.cores.speed)
    count = np.maximum(workload.columns["count"], 1)
    time = found.time / count
    waiting = decoded.rung(time / cycle) * cycle * count
    totals = dict(found.totals) | decoded.totals(workload, machine.decode_units)
    totals["cycles"] = round(float((found.time + waiting).sum()) * machine.clock_hz)
    return dataclasses.replace(found, rungs={**found.rungs, "decode": waiting}, totals=totals)


def _verilog(workload: Workload, machine: SparseDsp) -> Breakdown:
    refuse_units(workload, machine.name, "the Verilog")
    return verilog(workload, machine)


FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": _published,
    "closed_form": functools.partial(_decoded, closed_form),
    "timeline": functools.partial(_decoded, timeline),
    "verilog": _verilog,
}


def trace(workload: Workload, machine: SparseDsp, fidelity: str) -> list[Span]:
    """Run every unit of a step once, in their order: a layer and what is outside the layers.

    Where layers differ (the attention masks of published prefill), the first stands for all. Of
    ``verilog`` a span is a segment of the program.
    """
    from plait.sim.compiler.core import core_of
    from plait.sim.compiler.decode_step import compile_step
    from plait.sim.compiler.own import plans
    from plait.sim.compiler.published import units
    from plait.sim.families.sparse_dsp_times import rates
    from plait.sim.timeline.trace import Span

    if fidelity == "published":
        rate = tuple(rates(machine).tolist())
        return [
            Span(unit.name, unit.count, timed(unit.program, rate))
            for unit in units(workload, machine)
            if not unit.layer
        ]
    if fidelity == "verilog":
        core = core_of(machine)
        return [
            Span(f"{section.name}, segment {number}", section.count, line)
            for section in compile_step(workload, machine)
            for number, line in enumerate(run_units(section.units, core).lines(machine.clock_hz))
        ]
    if fidelity != "timeline":
        raise SpecError(
            f"{fidelity} runs no instructions to trace",
            where="trace",
            expected="fidelity timeline, verilog or published",
        )
    return [Span(p.name, p.count, run_plan(p, machine)) for p in plans(workload, machine)]
