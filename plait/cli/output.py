"""Showing results: one JSON document, or tables and lines for a reader."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["line", "paragraph", "show_json", "table", "width"]

_WIDTH_WHEN_PIPED = 160  # hardly anything is folded where a program reads
_WIDEST_TEXT = 100


def show_json(document: Mapping[str, Any] | str) -> None:
    """Write one JSON document, and nothing else, to standard output."""
    if not isinstance(document, str):
        document = json.dumps(document, indent=2, allow_nan=False, default=_plain)
    sys.stdout.write(document.rstrip("\n") + "\n")


def line(text: str = "") -> None:
    """Write one line of text to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # long commands show what they have as soon as they have it


def paragraph(text: str) -> None:
    """Write a sentence or more, wrapped at the terminal's width or at 100 columns."""
    line(textwrap.fill(text, min(width(), _WIDEST_TEXT)))


def width() -> int:
    """Columns of the terminal, or of what is written where nobody looks."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_WHEN_PIPED


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Write a table; numbers to the right, words to the left, folded in a narrow terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [list(row) for row in rows]
    console = Console(width=width(), highlight=False)
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        right = bool(rows) and all(_is_number(row[index]) for row in rows)
        shown.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(_text(value)) for value in row))
    console.print(shown)


def _is_number(value: object) -> bool:
    """Whether it is set to the right: a number, or text that begins like one."""
    text = _text(value)
    return not text or text[0].isdigit() or (text[0] in "-+." and text[1:2].isdigit())


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> object:
    if hasattr(value, "item"):  # a numpy scalar
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
