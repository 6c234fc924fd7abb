"""Commands about Plait itself: doctor, demo, agreement."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.app import app
from plait.cli.options import Json
from plait.cli.output import line, paragraph, show_json, table
from plait.cli.progress import progress

if TYPE_CHECKING:
    from plait.demo import Section

_PAGE = Path("plait-demo.html")
_PURPOSES = {
    "needed": "everything",
    "model": "real weights and PyTorch models",
    "rtl": "Verilog",
}


@app.command(rich_help_panel="Plait", epilog="Example: plait doctor")
def doctor(json: Json = False) -> None:
    """What is installed, what is missing and how to get it (exit 1 if something is)."""
    from plait.doctor import examine

    checks = examine()
    missing = [check for check in checks if not check.found]
    if json:
        show_json({"checks": [{**asdict(c), "found": c.found} for c in checks]})
    else:
        columns = ["tool", "version", "does", "for"]
        rows = [(c.name, c.version or "missing", c.purpose, _PURPOSES[c.need]) for c in checks]
        table(columns, rows)
        for check in missing:
            line(f"missing: {check.name}: {check.remedy}")
        if not missing:
            line("nothing is missing")
    if missing:
        raise typer.Exit(1)


@app.command(rich_help_panel="Plait", epilog="Example: plait demo --output demo.html")
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML page.")
    ] = _PAGE,
    windows: Annotated[
        int, typer.Option(metavar="N", min=1, help="Windows of 512 tokens for each perplexity.")
    ] = 6,
    json: Json = False,
) -> None:
    """The whole braid on a real LLM: values, cycles, gates, one HTML page."""
    from plait import demo as part

    sections = []
    with progress("demo") as work:
        for section in part.run(windows, work.say):
            sections.append(section)
            if not json:
                _show(section)
        page = part.write(sections, output)
    if json:
        show_json({"page": str(page), "sections": [_document(section) for section in sections]})
    else:
        line(f"page: {page}")


def _show(section: Section) -> None:
    rows = section.table.astype(object).where(section.table.notna(), None)
    table(list(rows.columns), rows.to_numpy().tolist(), title=section.title)
    if section.note:
        paragraph(section.note)
    line()


def _document(section: Section) -> dict[str, Any]:
    rows = section.table.astype(object).where(section.table.notna(), None)
    return {"title": section.title, "note": section.note, "rows": rows.to_dict("records")}


@app.command(rich_help_panel="Plait", epilog="Example: plait agreement bit_serial")
def agreement(
    family: Annotated[
        str | None,
        typer.Argument(
            metavar="FAMILY",
            help="bit_serial, offload, roofline, sparse_dsp or systolic; all if none is given.",
        ),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table between its markers there.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Exit 1 unless that table is current.")
    ] = None,
    json: Json = False,
) -> None:
    """The measured error between every pair of views: published, closed form, Verilog, values."""
    from plait import measured as part

    with progress("comparing") as work:
        measured = []
        for error in part.errors(family, os.cpu_count() or 1):
            measured.append(error)
            work.say(f"{error.what}: {error.shown}")
    if write:
        part.write(write, measured)
    if json:
        show_json({"pairs": [error._asdict() for error in measured]})
    else:
        columns = ["what", "compared with", "cases", "largest difference"]
        rows = [(e.what, e.against, e.cases, e.shown) for e in measured]
        table(columns, [[str(cell).replace("`", "") for cell in row] for row in rows])
    if check and not part.is_current(check, measured):
        print(f"{check}: the table is stale: plait agreement --write {check}", file=sys.stderr)
        raise typer.Exit(1)
