"""A Format as HTML for a notebook and for its page in the documentation."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from plait.models.formats.base import Format

__all__ = ["as_figure", "as_html", "grids"]

_WIDTH, _ROW, _MARGIN = 480, 18, 24  # pixels
_MOST_GRIDS = 8  # that are drawn


def as_html(fmt: Format) -> str:
    """Give what a format is as one table element, its grids drawn below."""
    facts = {
        "bits of a code": f"{fmt.code_bits}",
        "bits a value": f"{fmt.bits:g}",
        "group": _group(fmt),
        "scale": fmt.scale_rule.replace("_", " "),
        "grids": f"{_choices(fmt)}" if fmt.has_table else "of each tensor",
        "terms": f"{fmt.term_count}" if fmt.term_form else "none",
    }
    head = "".join(f"<th>{html.escape(name)}</th>" for name in facts)
    cells = "".join(f"<td>{html.escape(value)}</td>" for value in facts.values())
    caption = html.escape(f"{fmt.name}: {fmt.summary}")
    return (
        f"<table><caption>{caption}</caption><tr>{head}</tr><tr>{cells}</tr></table>"
        f"{as_figure(fmt)}"
    )


def grids(fmt: Format, most: int = _MOST_GRIDS) -> list[NDArray[np.float64]]:
    """The first grids that a group chooses from; none where a tensor brings the values."""
    return [fmt.grid(selector) for selector in range(min(_choices(fmt), most))]


def as_figure(fmt: Format) -> str:
    """Draw every value of every grid as a tick on a line; empty where a tensor brings the values.

    One scale for all grids, so that they compare; drawn in the colour of the text around it.
    """
    drawn = grids(fmt)
    if not drawn:
        return ""
    low, high = min(grid[0] for grid in drawn), max(grid[-1] for grid in drawn)
    rows = [_row(grid, low, high, index) for index, grid in enumerate(drawn)]
    height = _ROW * (len(drawn) + 1)
    labels = [
        f'<text x="{_place(value, low, high):g}" y="{height - 4}" text-anchor="middle">'
        f"{value:g}</text>"
        for value in sorted({low, 0.0, high})
    ]
    note = f", {len(drawn)} of its {_choices(fmt)} grids" if _choices(fmt) > len(drawn) else ""
    title = html.escape(f"values of {fmt.name}{note}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="10" '
        f'fill="currentColor" stroke="none" role="img"><title>{title}</title>'
        + "".join([*rows, *labels])
        + "</svg>"
    )


def _row(grid: NDArray[np.float64], low: float, high: float, index: int) -> str:
    """The line of one grid; values that fall on one pixel are one tick."""
    middle = _ROW * index + _ROW // 2
    places = np.unique(np.round(_place(grid, low, high)).astype(int))
    ticks = "".join(f"M{x} {middle - 6}v12" for x in places)
    base = f"M{_MARGIN} {middle}H{_WIDTH - _MARGIN}"
    return (
        f'<path d="{base}" stroke="currentColor" stroke-opacity="0.3"/>'
        f'<path d="{ticks}" stroke="currentColor"/>'
    )


def _place(
    value: float | NDArray[np.float64], low: float, high: float
) -> float | NDArray[np.float64]:
    return _MARGIN + (value - low) / (high - low) * (_WIDTH - 2 * _MARGIN)


def _choices(fmt: Format) -> int:
    """Grids that a group chooses from; one of all values where pairs choose (OliVe)."""
    if not fmt.has_table:
        return 0
    return fmt.selectors if fmt.selector_bits else 1


def _group(fmt: Format) -> str:
    if not fmt.is_scaled:
        return "none"
    if fmt.group_size:
        return f"{fmt.group_size}, fixed"
    return f"{fmt.default_group_size} unless asked"
