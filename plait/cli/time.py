"""Commands about time: simulate, machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait import api
from plait.cli import completion
from plait.cli.app import app
from plait.cli.options import Json, Machine, Model, parse_formats, parse_overrides
from plait.cli.output import line, show_json, table, width
from plait.cli.progress import progress


@app.command(
    rich_help_panel="Time",
    epilog="Example: plait simulate llama-2-7b bitmod-lossy --context 256 --fidelity published",
)
def simulate(
    model: Model,
    machine: Machine,
    phase: Annotated[
        str,
        typer.Option(
            help="decode or prefill.", autocompletion=completion.one_of("decode", "prefill")
        ),
    ] = "decode",
    context: Annotated[
        int, typer.Option(metavar="N", help="Tokens attended to (decode), or of the prompt.")
    ] = 256,
    batch: Annotated[int, typer.Option(metavar="N", help="Sequences.")] = 1,
    fidelity: Annotated[
        str | None,
        typer.Option(
            metavar="F",
            help="published, closed_form (the default), timeline (default of a trace), verilog.",
            autocompletion=completion.one_of("published", "closed_form", "timeline", "verilog"),
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(metavar="F", help="Such as w4a16kv16, or weight=bitmod4,kv=int8."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the machine; repeatable."),
    ] = None,
    rewrite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KEY=VALUE,...",
            help="Change the model, see `plait rewrites`; repeatable.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of ops as CSV.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained page.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write instructions in time, for a trace viewer."),
    ] = None,
    json: Json = False,
) -> None:
    """Cycles, bytes and energy of a model on a machine."""
    with progress(f"{model} on {machine}"):
        described = api.load_accelerator(machine)
        if override:
            described = described.with_(**parse_overrides(override))
        report = api.simulate(
            model,
            described,
            phase=phase,
            context=context,
            batch=batch,
            fidelity=fidelity or _default_fidelity(described.family, trace),
            formats=parse_formats(formats),
            rewrites=rewrite,
            trace=trace,
        )
        if csv:
            report.to_csv(csv)
        if html:
            report.to_html(html)
    if json:
        show_json(report.to_json())
    else:
        from plait.sim.report.table import as_text

        line(as_text(report, width()))


def _default_fidelity(family: str, trace: Path | None) -> str:
    """A trace needs instructions that run, where a family has any."""
    from plait.sim.families import base

    has_trace = base.family(family).trace is not None
    return "timeline" if trace and has_trace else "closed_form"


@app.command(rich_help_panel="Time", epilog="Example: plait machines --json")
def machines(json: Json = False) -> None:
    """The machines that are known by name."""
    from plait.sim.spec.load import accelerator_names, load_accelerator

    known = [load_accelerator(name) for name in accelerator_names()]
    if json:
        show_json({"machines": [machine.model_dump(mode="json") for machine in known]})
    else:
        rows = [(machine.name, machine.family, machine.summary) for machine in known]
        table(["machine", "family", "what it is"], rows)
