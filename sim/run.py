"""One step of a model on a machine: binds, costs, reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError, unknown_name

if TYPE_CHECKING:
    from plait.models.graph.graph import Graph
    from plait.models.graph.workload import Workload
    from plait.sim.report.report import Report
    from plait.sim.spec.base import Accelerator

__all__ = ["simulate"]


def simulate(
    model: str | Path | Graph | Workload | Any,
    machine: str | Path | Accelerator,
    *,
    phase: str = "decode",
    context: int = 256,
    batch: int = 1,
    fidelity: str = "closed_form",
    formats: Any = None,
) -> Report:
    """Simulate one step of a model on a machine.

    Args:
        model: a Workload (which keeps its own sizes and formats), a Graph, or whatever
            `plait.models.graph.load_graph` takes.
        machine: a preset's name, the path of a YAML file, or an Accelerator.
        phase: decode (one token a sequence) or prefill (the whole prompt).
        context: tokens attended to, the new one included; in prefill the prompt's length.
        batch: sequences.
        fidelity: one of the family's, see `plait.sim.families.fidelities`.
        formats: number formats, see `plait.models.graph.assign.assign_formats`. They win over
            those kept in the graph, these over the machine's for this model and phase.
    """
    from plait.models.graph.workload import PHASES, Workload
    from plait.sim.families.base import cost, family
    from plait.sim.report.report import Report
    from plait.sim.spec.load import load_accelerator

    described = load_accelerator(machine)
    offered = family(described.family).FIDELITIES
    if fidelity not in offered:  # before the model is loaded, which may take seconds
        what = unknown_name(f"fidelity of family {described.family}", fidelity, offered)
        raise SpecError(what, where="fidelity")
    if phase not in PHASES:
        raise SpecError(unknown_name("phase", phase, PHASES), where="phase")
    if isinstance(model, Workload):
        workload = model
    else:
        graph = _graph(model)
        preset = described.formats.resolve(graph.name, phase)  # type: ignore[arg-type]
        workload = graph.bind(phase, batch, context, formats, defaults=preset or None)
    return Report.of(workload, described, fidelity, cost(workload, described, fidelity))


def _graph(model: Any) -> Graph:
    from plait.models.graph.graph import Graph

    if isinstance(model, Graph):
        return model
    from plait.models.graph.load import load_graph

    return load_graph(model)
