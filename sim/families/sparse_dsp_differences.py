"""What each difference between our model and the published one is worth, and the paper's claims.

Every figure is measured when asked for: a step is costed with and without the one thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from plait.sim.families.sparse_dsp_own import closed_form
from plait.sim.families.sparse_dsp_published import published, timed
from plait.sim.families.sparse_dsp_times import rates

if TYPE_CHECKING:
    from plait.models.graph.graph import Graph
    from plait.models.graph.workload import Workload
    from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["Difference", "differences", "ratio_of_ratios"]


class Difference(NamedTuple):
    """One thing and the part by which it changes the time of a step."""

    what: str
    effect: float


_SWITCHES: dict[str, dict[str, Any]] = {
    "vectors go to memory and back in decode": {"storage.always_on_chip": False},
    "places of kept weights left out": {"storage.index": "none"},
    "places of kept weights as lists of 4 bits": {"storage.index": "list"},
    "no drain at the end of a sum": {"core.drain_cycles": 0},
    "weights loaded anew for every row tile": {"storage.weight_reuse": False},
    "cores that lose nothing by working together": {"cores.efficiency": 1.0},
}


def differences(graph: Graph, machine: SparseDsp, phase: str, context: int) -> list[Difference]:
    """Measure what ours would take if it did as the published model in one point at a time.

    Effects are relative to our closed form; the first two lines say how far the models are apart
    and what the second read of keys and values costs the published one.
    """
    workload = _bound(graph, machine, phase, context)
    ours = float(closed_form(workload, machine).seconds.sum())
    theirs = float(published(workload, machine).seconds.sum())
    found = [Difference("all together: published", theirs / ours - 1)]
    if phase == "decode":
        again = _concatenation(workload, machine) / theirs
        found.append(Difference("published: keys and values read a second time", again))
    alone = float(closed_form(workload, machine.with_(**{"cores.count": 1})).seconds.sum())
    shared = alone / machine.cores.count
    found.append(Difference("outputs and heads divided evenly over the cores", shared / ours - 1))
    for what, change in _SWITCHES.items():
        seconds = float(closed_form(workload, machine.with_(**change)).seconds.sum())
        found.append(Difference(what, seconds / ours - 1))
    return found


def _bound(graph: Graph, machine: SparseDsp, phase: str, context: int) -> Workload:
    preset = machine.formats.resolve(graph.name, phase)  # type: ignore[arg-type]
    return graph.bind(phase, 1, context, None, preset)


def _concatenation(workload: Workload, machine: SparseDsp) -> float:
    """Seconds of the units that only move past keys and values."""
    from plait.sim.compiler.published import units

    rate = tuple(rates(machine).tolist())
    return sum(
        unit.count * timed(unit.program, rate).total
        for unit in units(workload, machine)
        if unit.name.endswith("concat")
    )


def ratio_of_ratios(rate: float, cost: float, other_rate: float, other_cost: float) -> float:
    """Compare what two machines give for what they cost (watts, dollars).

    The energy claim of FlightLLM: 55 token/s at 45 W against 45 token/s at 220 W of a V100S.

    >>> round(ratio_of_ratios(55, 45, 45, 220), 2)
    5.98
    """
    return (rate / cost) / (other_rate / other_cost)
