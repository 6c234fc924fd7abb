"""Commands about changed models: which rewrites there are, and what they do to long contexts."""

from __future__ import annotations

from typing import Annotated

import typer

from plait import api
from plait.cli.app import app
from plait.cli.options import Json, TextFile, Weights, words_of
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress

Rewrites = Annotated[
    list[str] | None,
    typer.Option(
        "--rewrite",
        metavar="NAME:KEY=VALUE,...",
        help="Change the model, see `plait rewrites`; repeatable.",
    ),
]


@app.command(rich_help_panel="Values", epilog="Example: plait rewrites --json")
def rewrites(json: Json = False) -> None:
    """The changes of a model that simulate and longcontext take."""
    from plait.models.graph.rewrites.registry import describe

    known = describe()
    if json:
        show_json({"rewrites": known})
        return
    rows = [
        (
            row["name"],
            ", ".join(f"{key}={value}" for key, value in row["parameters"].items()),
            "change" if row["changes_outputs"] else "stay",
            row["summary"],
        )
        for row in known
    ]
    table(["rewrite", "parameters", "outputs", "what it does"], rows)


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait longcontext smollm2-135m --rewrite lm-infinite:sinks=4,window=252 "
    "--context 256 --context 1024",
)
def longcontext(
    model: Weights,
    rewrite: Rewrites = None,
    context: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Tokens before the predicted ones; repeatable; if none, 256, 512, 1024.",
        ),
    ] = None,
    text: TextFile = None,
    windows: Annotated[int, typer.Option(metavar="N", help="Continuations predicted.")] = 2,
    needles: Annotated[int, typer.Option(metavar="N", help="Pass keys hidden, a context.")] = 3,
    json: Json = False,
) -> None:
    """Perplexity of the same tokens and a needle test, after more and more context."""
    from plait.models.attention.evaluate import CONTEXTS
    from plait.models.graph.rewrites.registry import parse_all

    changes = parse_all(rewrite)
    words = words_of(text)
    with progress(f"loading {model}") as work:
        module = api.load_module(model, work.advance)
        changed = api.rewrite(module, changes)
        work.say("long contexts")
        frame = api.long_context(
            changed,
            words,
            tuple(context or CONTEXTS),
            windows=windows,
            needles=needles,
            progress=work.advance,
        )
    note = getattr(module, "weights_note", "")
    described = [change.to_dict() for change in changes]
    if json:
        rows = frame.to_dict("records")
        show_json({"model": model, "rewrites": described, "rows": rows, "note": note})
        return
    for change in described:
        outputs = "change" if change["changes_outputs"] else "stay"
        line(f"{change['rewrite']}: outputs {outputs}: {change['effect']}")
    table(
        ["context", "perplexity", "needles found"],
        [
            (str(row.context), f"{row.perplexity:.2f}", f"{row.needles_found} of {row.needles}")
            for row in frame.itertuples()
        ],
    )
    if note:
        line(str(note))
