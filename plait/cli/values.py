"""Commands about values: quantize, perplexity, export, formats, models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait import api
from plait.cli import completion
from plait.cli.app import app
from plait.cli.options import Group, Json, TextFile, Weights, parse_group, words_of
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress
from plait.errors import SpecError
from plait.files import read_text
from plait.modules import bits_per_weight, quantised_layers
from plait.units import engineering

if TYPE_CHECKING:
    import torch
    from torch import nn

    from plait.models.formats import Format

_CALIBRATION_WINDOW, _CALIBRATION_WINDOWS = 256, 8

FormatName = typer.Option(
    "--format",
    metavar="F",
    help="A name of `plait formats`.",
    autocompletion=completion.formats,
)


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait quantize smollm2-135m --format bitmod4 --group 64 -o small.safetensors",
)
def quantize(
    model: Weights,
    format: Annotated[str, FormatName],
    group: Group = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="M", help="How codes are chosen: rtn, gptq, awq, ..."),
    ] = "rtn",
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="FILE", help="Text whose first 2048 tokens calibrate."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write safetensors.")
    ] = None,
    json: Json = False,
) -> None:
    """Quantise the block linears of a model with weights, and save them packed."""
    from plait.models.quantize.storage import save_tensors

    module, small = _quantised(model, format, parse_group(group), method, calibrate)
    layers = quantised_layers(small)
    if output:
        save_tensors(output, {name: layer.tensor() for name, layer in layers.items()})
    document = {
        "model": model,
        "format": format,
        "group": parse_group(group),
        "method": method,
        "layers": len(layers),
        "weights": sum(layer.out_features * layer.in_features for layer in layers.values()),
        "bits_per_weight": bits_per_weight(small),
        "note": getattr(module, "weights_note", ""),
        "file": str(output) if output else None,
    }
    if json:
        show_json(_present(document))
        return
    line(
        f"{document['layers']} linears of {model}, {document['weights']:,} weights, to {format}: "
        f"{document['bits_per_weight']:.4g} bits a weight"
    )
    for key in ("note", "file"):
        if document[key]:
            line(str(document[key]))


@app.command(
    rich_help_panel="Values",
    epilog="Example: plait perplexity smollm2-135m --format bitmod4 --group 64 --text book.txt.gz",
)
def perplexity(
    model: Weights,
    text: TextFile = None,
    format: Annotated[str | None, FormatName] = None,
    group: Group = None,
    window: Annotated[int, typer.Option(metavar="N", help="Tokens of a window.")] = 512,
    windows: Annotated[int, typer.Option(metavar="N", help="Windows, from the start.")] = 56,
    json: Json = False,
) -> None:
    """Perplexity of a model on a text, its block linears quantised if a format is given."""
    words = words_of(text)
    module, small = _quantised(model, format, parse_group(group))
    with progress("perplexity") as work:
        value = api.perplexity(small, words, window, windows, work.advance)
    document = {
        "model": model,
        "text": str(text) if text else "Botchan",
        "format": format or "fp32",
        "group": parse_group(group),
        "bits_per_weight": bits_per_weight(small),
        "window": window,
        "windows": windows,
        "perplexity": value,
        "note": getattr(module, "weights_note", ""),
    }
    if json:
        show_json(_present(document))
        return
    what = f"{document['format']}, {windows} windows of {window} tokens of {document['text']}"
    line(f"perplexity {value:.3f}: {what}")
    if document["note"]:
        line(str(document["note"]))


@app.command(rich_help_panel="Values", epilog="Example: plait export llama-2-7b -o llama-2-7b.pt2")
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name of `plait models` or a Hugging Face folder.",
            autocompletion=completion.models,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.pt2", help="The file to write.")
    ],
    format: Annotated[str | None, FormatName] = None,
    group: Group = None,
    json: Json = False,
) -> None:
    """Export a model by torch.export; with a format its weights are needed and kept quantised."""
    if output.suffix != ".pt2":
        raise SpecError("not the name of a .pt2 file", where="--output", got=str(output))
    from plait.models.graph.load import build_module

    module = _quantised(model, format, parse_group(group))[1] if format else build_module(model)
    with progress("exporting"):
        graph = api.export(module, output)
    size = output.stat().st_size
    if json:
        document = {"model": model, "format": format, "file": str(output), "bytes": size}
        show_json(_present({**document, "parameters": graph.parameters, "ops": len(graph.ops)}))
    else:
        line(str(graph))
        line(f"{output}: {engineering(size, 'B')}")


def _quantised(
    model: str,
    format: str | None,
    group: int | str | None,
    method: str = "rtn",
    calibrate: Path | None = None,
) -> tuple[nn.Module, nn.Module]:
    """The model with its weights, and the same quantised if a format is given."""
    words = None
    if format:  # mistakes show before seconds of loading
        _get_format(format)
        _check_method(method)
        words = read_text(calibrate) if calibrate else None
    with progress(f"loading {model}") as work:
        module = api.load_module(model, work.advance)
        if not format:
            return module, module
        work.say(f"quantising to {format}")
        options = {"inputs": _calibration(module, words)} if words else {}
        return module, api.quantize(module, format, group, method, progress=work.advance, **options)


def _check_method(name: str) -> None:
    from plait.models.quantize.methods import get_method

    get_method(name)


def _calibration(module: nn.Module, words: str) -> torch.Tensor:
    """Tokens that run through the model: eight windows of 256."""
    from plait.models.quantize.metrics import text_windows

    return text_windows(module, words, _CALIBRATION_WINDOW, _CALIBRATION_WINDOWS)


def _get_format(name: str) -> Format:
    """A format by name; an unknown one lists the nearest."""
    from plait.models.formats import get

    return get(name)


def _present(document: dict[str, Any]) -> dict[str, Any]:
    """A key that has no meaning is absent."""
    return {key: value for key, value in document.items() if value not in (None, "")}


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
    from plait.models.llm.config import load_shape, shape_names
    from plait.models.llm.matmul_free_shape import load_matmul_free_shape, matmul_free_names

    shapes: list[Any] = [load_shape(name) for name in shape_names()]
    shapes += [load_matmul_free_shape(name) for name in matmul_free_names()]
    if json:
        show_json({"models": [{**asdict(s), "parameters": s.parameters} for s in shapes]})
        return
    fields = ("name", "layers", "hidden", "heads", "kv_heads", "ffn", "vocab")
    rows = [
        [*(getattr(s, field, "") for field in fields), engineering(s.parameters, "")]
        for s in shapes
    ]
    table([*fields, "parameters"], rows)
