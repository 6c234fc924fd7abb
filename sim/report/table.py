"""A Report as text for a terminal of any width, and as HTML for a notebook."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, NamedTuple

from plait.units import engineering, scale_of

if TYPE_CHECKING:
    import pandas as pd

    from plait.sim.report.report import Report

__all__ = ["as_html", "as_text", "changes"]

_WIDTH = 80  # columns every terminal has


class _Column(NamedTuple):
    """One printed column: its head with the unit, and a cell an op."""

    head: str
    cells: list[str]


def as_text(report: Report, width: int = _WIDTH) -> str:
    """Lay the ops that take time out as a table, the slowest first, with the totals above."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = _columns(report)
    for i, column in enumerate(columns):
        is_text = column.head in ("op", "bound")
        table.add_column(
            column.head,
            justify="left" if is_text else "right",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if i == 0 else max(map(len, [column.head, *column.cells])),
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, highlight=False).print(table)
    lines = (line.rstrip() for line in out.getvalue().splitlines())
    return "\n".join([_title(report), _summary(report), *changes(report), "", *lines])


def as_html(report: Report) -> str:
    """Give the same as a table element."""
    columns = _columns(report)
    head = "".join(f"<th>{html.escape(column.head)}</th>" for column in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in zip(*(column.cells for column in columns), strict=True)
    )
    said = "; ".join([f"{_title(report)}: {_summary(report)}", *changes(report)])
    caption = html.escape(said)
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{rows}</table>"


def changes(report: Report) -> list[str]:
    """Say how the model was changed, a line a rewrite."""
    outputs = {True: "outputs change", False: "outputs stay"}
    return [
        f"{change['rewrite']}: {outputs[change['changes_outputs']]}: {change['effect']}"
        for change in report.rewrites
    ]


def _title(report: Report) -> str:
    return (
        f"{report.model} on {report.accelerator}, {report.phase}, context {report.context}, "
        f"batch {report.batch}, {report.fidelity}"
    )


def _summary(report: Report) -> str:
    parts = [] if report.cycles is None else [f"{report.cycles:,} cycles"]
    parts.append(engineering(report.seconds, "s"))
    if report.energy_joules is not None:
        parts.append(engineering(report.energy_joules, "J"))
    parts += [engineering(report.operations, "operations"), engineering(report.bytes, "bytes")]
    return ", ".join(parts)


def _columns(report: Report) -> list[_Column]:
    rows = report.table[report.table["seconds"] > 0]
    rows = rows.sort_values("seconds", ascending=False, kind="stable")
    return [
        _Column("op", [str(op) for op in rows["op"]]),
        _Column("count", [str(count) for count in rows["count"]]),
        _scaled("time", "s", rows["seconds"]),
        _Column("share", [f"{x / report.seconds:.1%}" for x in rows["seconds"]]),
        _Column("bound", [str(bound) for bound in rows["bound"]]),
        _scaled("operations", "", rows["operations"]),
        _scaled("traffic", "B", rows["bytes"]),
    ]


def _scaled(name: str, unit: str, values: pd.Series) -> _Column:
    """One prefix for the whole column, so that figures compare at a glance."""
    scale, prefix = scale_of(float(values.max()) if len(values) else 0.0)
    return _Column(f"{name} {prefix}{unit}".strip(), [f"{value / scale:.3f}" for value in values])
