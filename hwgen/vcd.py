"""Reads chosen signals of a waveform (VCD), a value a clock cycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name

__all__ = ["sample"]

_UNKNOWN = str.maketrans("xz", "00")


def sample(path: Path, clock: str, signals: Sequence[str]) -> dict[str, NDArray[np.object_]]:
    """Give each signal's value in every cycle, as whole numbers: what it has when the clock rises.

    The last value is what the signal has after the last edge.

    Args:
        clock: dotted name of the clock, such as ``plait_top.clk_i``.
        signals: likewise; the scope that the simulator puts around the top is left out.
    """
    with path.open(encoding="ascii") as file:
        identifiers = _identifiers(file)
        for name in (clock, *signals):
            if name not in identifiers:
                raise SpecError(unknown_name("signal", name, identifiers), where=str(path))
        now = {identifiers[name]: 0 for name in (clock, *signals)}
        edge, rows = identifiers[clock], []
        for changes in _steps(file, now):
            if changes.get(edge) and not now[edge]:
                rows.append([now[identifiers[name]] for name in signals])
            now |= changes
        rows.append([now[identifiers[name]] for name in signals])
    columns = np.array(rows, dtype=object).reshape(-1, len(signals))
    return {name: columns[:, index] for index, name in enumerate(signals)}


def _identifiers(file: Iterator[str]) -> dict[str, str]:
    """Short identifiers by dotted name, from the header."""
    scopes: list[str] = []
    found: dict[str, str] = {}
    for line in file:
        words = line.split()
        if words[:1] == ["$scope"]:
            scopes.append(words[2])
        elif words[:1] == ["$upscope"]:
            scopes.pop()
        elif words[:1] == ["$var"]:
            found[".".join([*scopes[1:], words[4]])] = words[3]
        elif words[:1] == ["$enddefinitions"]:
            break
    return found


def _steps(file: Iterator[str], watched: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """What changes at each point of time, of the watched identifiers.

    Verilator knows two states; what another simulator writes as x or z reads as 0.
    """
    changes: dict[str, int] = {}
    for line in file:
        kind, rest = line[0], line[1:].strip()
        if kind == "#":
            yield changes
            changes = {}
        elif kind in "01xz" and rest in watched:
            changes[rest] = int(kind == "1")
        elif kind == "b":
            value, identifier = rest.split()
            if identifier in watched:
                changes[identifier] = int(value.translate(_UNKNOWN), 2)
    yield changes
