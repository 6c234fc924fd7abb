"""The command of the accuracy study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.app import app
from plait.cli.options import Json, Weights
from plait.cli.output import paragraph, show_json, table
from plait.cli.progress import progress


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait study smollm2-135m --quick -o study --html study.html",
)
def study(
    model: Weights = "smollm2-135m",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Rows are kept there.")
    ] = Path("study"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Four methods, two windows of each text.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="One method; repeatable.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Processes; one a core unless given, at most four.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Every measure, a row a method.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="One page, the front drawn.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Markdown whose table is replaced, with its drawing."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare methods of quantising: bits, perplexity, KL, agreement, and a token's time.

    A study that was stopped goes on where it was. The full one takes tens of minutes on two cores.
    """
    from plait import study as part
    from plait import study_page as page
    from plait.files import write_atomically

    effort = part.Effort.quick() if quick else part.Effort()
    with progress("study") as work:
        rows = part.run(output, model, effort, tuple(only or ()), work.say, workers)
    found = part.front(rows)
    if csv:
        with write_atomically(csv) as temporary:
            found.to_csv(temporary, index=False)
    if html:
        page.write_html(html, rows, effort)
    if write:
        page.document(write, rows, effort)
    if json:
        show_json({"model": model, "effort": page.caption(rows, effort), "rows": rows})
        return
    table(*page.cells(rows))
    paragraph(page.caption(rows, effort))
    for reason, mark in page.refusals(rows).items():
        paragraph(f"({mark}) {reason}")
