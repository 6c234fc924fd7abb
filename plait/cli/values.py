"""Commands about values: quantize, perplexity, export, formats, models."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait import api
from plait.cli.app import app
from plait.cli.options import Group, Json, TextFile, parse_group
from plait.cli.output import engineering, line, show_json, table
from plait.cli.progress import progress

if TYPE_CHECKING:
    from plait.models.formats import Format

Weights = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="smollm2-135m, a GGUF file or a Hugging Face folder with weights."
    ),
]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="F", help="A name of `plait formats`.")
]


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait perplexity smollm2-135m --format bitmod4 --text book.txt.gz",
)
def perplexity(
    model: Weights,
    text: TextFile,
    format: FormatName = None,
    group: Group = "64",
    window: Annotated[int, typer.Option(metavar="N", help="Tokens of a window.")] = 512,
    windows: Annotated[int, typer.Option(metavar="N", help="Windows, from the start.")] = 56,
    json: Json = False,
) -> None:
    """Perplexity of a model on a text, its block linears quantised if a format is given."""
    from plait.files import read_text

    words = read_text(text)
    with progress(f"perplexity of {model}"):
        module = api.load_module(model)
        if format:
            module = api.quantize(module, format, group_size=parse_group(group))
        value = api.perplexity(module, words, window=window, windows=windows)
    document = {
        "model": model,
        "format": format or "fp32",
        "group": parse_group(group) if format else None,
        "window": window,
        "windows": windows,
        "perplexity": value,
        "weights": getattr(module, "weights_note", None),
    }
    if json:
        show_json({key: value for key, value in document.items() if value is not None})
    else:
        line(
            f"perplexity {value:.3f}  ({document['format']}, {windows} windows of {window} tokens)"
        )
        if document["weights"]:
            line(f"weights: {document['weights']}")


@app.command(rich_help_panel="Values", epilog="Example: plait formats")
def formats(json: Json = False) -> None:
    """The number formats that are known by name."""
    from plait.models import formats as part

    known = [_format(part.get(name)) for name in part.names()]
    if json:
        show_json({"formats": known})
        return
    columns = ["format", "bits a value", "grids", "terms", "meaning"]
    rows = [(f["name"], f["bits"], f["selectors"], f["terms"] or "", f["summary"]) for f in known]
    table(columns, rows)


def _format(one: Format) -> dict[str, Any]:
    return {
        "name": one.name,
        "bits": one.bits,
        "code_bits": one.code_bits,
        "selectors": one.selectors,
        "group_size": one.group_size,
        "terms": one.term_count if one.term_form else None,
        "summary": one.summary,
    }


@app.command(rich_help_panel="Values", epilog="Example: plait models --json")
def models(json: Json = False) -> None:
    """The models that are known by name (shapes; smollm2-135m has weights too)."""
    from plait.models.llm import load_shape, shape_names

    shapes = [load_shape(name) for name in shape_names()]
    if json:
        show_json({"models": [{**asdict(s), "parameters": s.parameters} for s in shapes]})
        return
    fields = ("name", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab")
    rows = [
        [*(getattr(s, field) for field in fields), engineering(s.parameters, "")] for s in shapes
    ]
    table([*fields, "parameters"], rows)
