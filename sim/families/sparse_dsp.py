"""Family sparse_dsp: chains of DSP slices behind six instruction queues (FlightLLM).

Three fidelities: ``published`` is the performance model of FlightLLM's authors; ``timeline`` runs
the programs of our own compiler through the same queues; ``closed_form`` adds up what these
programs do without making them. `plait.sim.families.sparse_dsp_own` says how ours differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError
from plait.sim.families.breakdown import Breakdown
from plait.sim.families.sparse_dsp_own import closed_form, run_plan, timeline
from plait.sim.families.sparse_dsp_published import published, timed

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.sparse_dsp import SparseDsp
    from plait.sim.timeline.trace import Span

__all__ = ["FIDELITIES", "trace"]

FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": published,
    "closed_form": closed_form,
    "timeline": timeline,
}


def trace(workload: Workload, machine: SparseDsp, fidelity: str) -> list[Span]:
    """Run every unit of a step once, in their order: a layer and what is outside the layers.

    Where layers differ (the attention masks of published prefill), the first stands for all.
    """
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
    if fidelity != "timeline":
        raise SpecError(
            f"{fidelity} runs no instructions to trace",
            where="trace",
            expected="fidelity timeline or published",
        )
    return [Span(p.name, p.count, run_plan(p, machine)) for p in plans(workload, machine)]
