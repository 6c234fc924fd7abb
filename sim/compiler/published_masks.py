"""The measured attention masks of FlightLLM's published prefill, as statistics a head."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LARGEST_PROMPT", "HeadMask", "cut", "full_triangle", "measured"]

LARGEST_PROMPT = 512
"""Tokens that the statistics cover."""

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class HeadMask:
    """A causal mask of blocks of 64 x 64 tokens.

    Attributes:
        rows: live columns of each row.
        pairs: live columns in the union of rows 1-2, 3-4, ...
        runs: contiguous runs that a row's live columns are in.
    """

    rows: tuple[int, ...]
    pairs: tuple[int, ...]
    runs: tuple[int, ...]


def full_triangle(rows: int) -> HeadMask:
    """The mask that skips nothing but what is not causal; for a multiple of 128 tokens.

    >>> full_triangle(128)
    HeadMask(rows=(1, 2), pairs=(2,), runs=(1, 1))
    """
    count = rows // 64
    return HeadMask(tuple(range(1, count + 1)), tuple(range(2, count + 1, 2)), (1,) * count)


@functools.cache
def measured() -> tuple[tuple[HeadMask, ...], ...]:
    """Give the masks of Llama-2-7B, [layers][heads]."""
    classes = {
        row["class"]: HeadMask(*(tuple(map(int, row[n])) for n in ("rows", "pairs", "runs")))
        for row in _read("mask_classes.csv")
    }
    return tuple(tuple(classes[c] for c in row["heads"]) for row in _read("mask_of_head.csv"))


def cut(mask: HeadMask, rows: int) -> HeadMask:
    """The mask of a shorter prompt: masks are causal."""
    return HeadMask(mask.rows[: rows // 64], mask.pairs[: rows // 128], mask.runs[: rows // 64])


def _read(name: str) -> list[dict[str, str]]:
    with open(_DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
