"""Arguments and options that several commands share, and the reading of their syntaxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli import completion
from plait.errors import SpecError
from plait.files import read_text

__all__ = [
    "Group",
    "Json",
    "Machine",
    "Model",
    "TextFile",
    "Weights",
    "parse_formats",
    "parse_group",
    "parse_overrides",
    "words_of",
]

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name of `plait models`, a .pt2 file or a Hugging Face folder.",
        autocompletion=completion.models,
    ),
]
Machine = Annotated[
    str,
    typer.Argument(
        metavar="MACHINE",
        help="A name of `plait machines` or a YAML file.",
        autocompletion=completion.machines,
    ),
]
Weights = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="smollm2-135m, a GGUF file or a Hugging Face folder with weights.",
        autocompletion=completion.one_of("smollm2-135m"),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document and nothing else.")]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="N",
        help="Weights that share one scale: a number, `channel` or `tensor`; default 128, "
        "or what the format fixes.",
    ),
]
TextFile = Annotated[
    Path | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Plain text in UTF-8, or the same gzipped; if none, Botchan, a novel that comes with "
        "Plait.",
    ),
]


def words_of(text: Path | None) -> str:
    """What `TextFile` names."""
    from plait.models.llm.texts import botchan

    return read_text(text) if text else botchan()


def parse_formats(text: str | None) -> str | dict[str, str | float] | None:
    """Read ``w4a16kv16`` or ``weight=bitmod4,kv=8``.

    >>> parse_formats("weight=bitmod4,kv=8")
    {'weight': 'bitmod4', 'kv': 8.0}
    >>> parse_formats("w4a16kv16")
    'w4a16kv16'
    """
    if text is None or "=" not in text:
        return text
    formats: dict[str, str | float] = {}
    for part in text.split(","):
        role, _, value = (word.strip() for word in part.partition("="))
        if not role or not value or role in formats:
            expected = "w4a16kv16, or weight=NAME,activation=NAME,kv=NAME"
            raise SpecError("not formats", where="--formats", got=text, expected=expected)
        formats[role] = _number(value)
    return formats


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Read ``array.decode.rows=128`` of ``--set``; a value is what it would be in a YAML file.

    >>> parse_overrides(["array.decode.rows=128", "clock_hz=2e9"])
    {'array.decode.rows': 128, 'clock_hz': 2000000000.0}
    """
    from plait.sim.spec.yaml_file import parse_yaml

    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = (word.strip() for word in pair.partition("="))
        if not key or not value:
            raise SpecError("not an override", where="--set", got=pair, expected="KEY=VALUE")
        overrides[key] = parse_yaml(f"value: {value}", f"--set {key}").data["value"]
    return overrides


def parse_group(text: str | None) -> int | str | None:
    """Read a number of weights, ``channel`` or ``tensor``.

    >>> parse_group("64"), parse_group("channel")
    (64, 'channel')
    """
    if text in (None, "channel", "tensor"):
        return text
    if not text.isdecimal() or not 1 <= int(text) <= 1 << 20:
        expected = "a number of weights, channel or tensor"
        raise SpecError("not a group size", where="--group", got=text, expected=expected)
    return int(text)


def _number(value: str) -> str | float:
    try:
        return float(value)
    except ValueError:
        return value
