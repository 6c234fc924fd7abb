"""Family sparse_dsp: chains of DSP slices behind six instruction queues (FlightLLM).

Three fidelities: ``published`` is the performance model of FlightLLM's authors; ``timeline`` runs
the programs of our own compiler through the same queues; ``closed_form`` adds up what these
programs do without making them. `plait.sim.families.sparse_dsp_own` says how ours differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from plait.sim.families.breakdown import Breakdown
from plait.sim.families.sparse_dsp_own import closed_form, timeline
from plait.sim.families.sparse_dsp_published import published

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["FIDELITIES"]

FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": published,
    "closed_form": closed_form,
    "timeline": timeline,
}
