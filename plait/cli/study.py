"""The command of the accuracy study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.app import app
from plait.cli.options import Json, Weights
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait study smollm2-135m --quick -o study",
)
def study(
    model: Weights = "smollm2-135m",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Rows are kept there.")
    ] = Path("study"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Five methods, two windows of each text.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="One method; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare methods of quantising: bits, perplexity, KL, agreement, and a token's time.

    A study that was stopped goes on where it was. The full one takes tens of minutes.
    """
    from plait import study as part

    effort = part.Effort.quick() if quick else part.Effort()
    with progress("study") as work:
        rows = list(part.run(output, model, effort, tuple(only or ()), work.say))
    found = part.front(rows)
    found.to_csv(output / "study.csv", index=False)
    if json:
        show_json({"model": model, "rows": found.to_dict("records")})
        return
    columns = ["bits_per_weight", "perplexity_novel", "kl_nats_novel", "top1_agreement_novel"]
    columns += ["perplexity_python_reference", "greedy_agreement"]
    names = ["method", "bits", "ppl novel", "KL", "top-1", "ppl Python", "greedy"]
    shown = [[row["name"], *(f"{row[c]:.4g}" for c in columns)] for _, row in found.iterrows()]
    table(names, shown)
    line(f"{output / 'study.csv'}: every measure, and a token on each machine")
