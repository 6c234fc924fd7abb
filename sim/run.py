"""One step of a model on a machine: binds, costs, reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait.models.graph.graph import Graph
    from plait.models.graph.rewrites.base import Rewrite
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
    rewrites: str | Rewrite | Iterable[str | Rewrite] | None = None,
    trace: str | Path | None = None,
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
        rewrites: changes of the model such as "lm-infinite:sinks=10,window=4096", in their order,
            see `plait.models.graph.rewrites`.
        trace: also write there how instructions run in time, for a trace viewer; of machines with
            instruction queues.
    """
    from plait.models.graph.load import load_graph
    from plait.models.graph.rewrites.registry import parse_all
    from plait.models.graph.workload import PHASES, Workload
    from plait.sim.families.base import cost, family
    from plait.sim.families.breakdown import Breakdown
    from plait.sim.report.report import Report
    from plait.sim.spec.load import load_accelerator

    described = load_accelerator(machine)
    offered = family(described.family).fidelities
    if fidelity not in offered:  # before the model is loaded, which may take seconds
        what = unknown_name(f"fidelity of family {described.family}", fidelity, offered)
        raise SpecError(what, where="fidelity")
    if phase not in PHASES:
        raise SpecError(unknown_name("phase", phase, PHASES), where="phase")
    changes = parse_all(rewrites)
    if changes:
        _check_rewrites(model, fidelity)
    if isinstance(model, Workload):
        workloads = [model]
    else:
        graph = load_graph(model)
        preset = described.formats.resolve(graph.name, phase)  # type: ignore[arg-type]
        workloads = _bound(graph, phase, batch, context, formats, preset or None, changes)
    if trace is not None:
        _write_trace(trace, workloads, described, fidelity)
    costs = [cost(workload, described, fidelity) for workload in workloads]
    whole = Workload.join(workloads, context=context) if len(workloads) > 1 else workloads[0]
    report = Report.of(whole, described, fidelity, Breakdown.join(costs))
    return report.with_rewrites([change.to_dict() for change in changes], context)


def _write_trace(
    path: str | Path, workloads: list[Workload], machine: Accelerator, fidelity: str
) -> None:
    from plait.sim.families.base import family
    from plait.sim.timeline.trace import write_trace

    make = family(machine.family).trace
    if make is None:
        raise SpecError(
            f"family {machine.family} has no instruction queues",
            where="trace",
            expected="a machine of family sparse_dsp",
        )
    spans = [span for workload in workloads for span in make(workload, machine, fidelity)]
    first = workloads[0]
    write_trace(path, spans, f"{first.model} on {machine.name}, {first.phase}, {fidelity}")


def _bound(
    graph: Graph,
    phase: str,
    batch: int,
    context: int,
    formats: Any,
    defaults: Any,
    changes: tuple[Rewrite, ...],
) -> list[Workload]:
    """Bind what the rewrites make of a step; ops of several steps carry the steps' labels."""
    from plait.models.graph.rewrites.base import Step
    from plait.models.graph.rewrites.registry import apply

    bound = []
    for step in apply(changes, Step(graph, phase, context)):
        workload = step.graph.bind(step.phase, batch, step.context, formats, defaults)
        bound.append(workload.labelled(step.label) if step.label else workload)
    return bound


def _check_rewrites(model: Any, fidelity: str) -> None:
    from plait.models.graph.workload import Workload

    if fidelity == "published":
        raise SpecError(
            "a published simulator knows no rewrites",
            where="rewrites",
            expected="fidelity closed_form or timeline",
        )
    if isinstance(model, Workload):
        raise SpecError("a Workload is bound already", where="rewrites", expected="a Graph")
