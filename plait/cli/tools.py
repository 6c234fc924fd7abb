"""Commands about Plait itself: doctor, demo."""

from __future__ import annotations

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
    ] = 8,
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
