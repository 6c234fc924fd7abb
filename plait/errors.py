"""The errors a user can cause, each one line: where, what, what was got, what would be right.

This file is the ground floor: every strand may import it, and it imports nothing of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["FormatError", "GraphError", "PlaitError", "SpecError", "ToolError", "unknown_name"]

_MISSING = object()
_LONGEST_VALUE = 80


class PlaitError(Exception):
    """A mistake in what the user gave; the command line prints it and exits with 2.

    Args:
        what: the mistake, as a short sentence without a full stop.
        where: file and key path, row, or op name.
        got: the offending value, shown shortened.
        expected: what would be right.
        hint: what to do about it.

    >>> str(PlaitError("too few rows", where="m.yaml: array.rows", got=0, expected="1 or more"))
    'm.yaml: array.rows: too few rows, got 0, expected 1 or more'
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        got: object = _MISSING,
        expected: str = "",
        hint: str = "",
    ) -> None:
        self.what, self.where, self.expected, self.hint = what, where, expected, hint
        self.got = None if got is _MISSING else got
        parts = [f"{where}: {what}" if where else what]
        if got is not _MISSING:
            parts.append(f"got {_short(got)}")
        if expected:
            parts.append(f"expected {expected}")
        line = ", ".join(parts) + (f" ({hint})" if hint else "")
        super().__init__(" ".join(line.split()))


class SpecError(PlaitError):
    """A description (machine, workload, space, cluster, argument) that breaks its schema."""


class GraphError(PlaitError):
    """A model that cannot become a Graph; ``where`` names the op."""


class FormatError(PlaitError):
    """A number format, a tensor or a weights file that is not what it should be."""


class ToolError(PlaitError):
    """A program or package that is missing or failed; ``hint`` says how to get it."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Say that ``name`` is no ``kind``, with the nearest known names.

    >>> unknown_name("format", "bitmod5", ["bitmod3", "bitmod4", "int4"])
    "unknown format 'bitmod5': did you mean bitmod4 or bitmod3?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    if near:
        return f"unknown {kind} {_short(name)}: did you mean {' or '.join(near)}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"unknown {kind} {_short(name)}: known are {shown}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
