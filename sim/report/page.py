"""One self-contained HTML page of reports: opens offline, because plotly.js is inside.

Takes Report objects and tables, gives a file. The page's own code is in assets/ (HTML, CSS and
JavaScript as such); this file only lays the JSON document into it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from plait import __version__
from plait.files import write_atomically
from plait.sim.report import plot
from plait.sim.report.table import changes

if TYPE_CHECKING:
    import pandas as pd

    from plait.sim.report.report import Report

__all__ = ["Table", "write_page"]

_ROW_KEYS = [
    "op",
    "kind",
    "count",
    "seconds",
    "cycles",
    "bound",
    "operations",
    "bytes",
    "weight_bytes",
    "activation_bytes",
    "kv_bytes",
]


@dataclass(frozen=True, slots=True)
class Table:
    """A table beside the reports: a title, a frame and a sentence under it.

    ``leading`` places it above the summary, otherwise it follows the ops.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""
    leading: bool = False


def write_page(
    reports: Report | Sequence[Report],
    path: str | Path,
    *,
    title: str = "",
    subtitle: str = "",
    tables: Sequence[Table] = (),
    labels: Sequence[str] = (),
) -> Path:
    """Write one HTML file with the reports' figures and tables and the ``tables`` given.

    Several reports are compared side by side. The file appears whole or not at all.

    Args:
        reports: one, several, or none.
        path: the file.
        title, subtitle: its head; by default the models, machines and sizes.
        tables: shown beside the reports.
        labels: a name for each report; by default its machine and whatever else differs.
    """
    reports = list(reports) if isinstance(reports, Sequence) else [reports]
    path = Path(path)
    page = _render(
        title=title or _title(reports),
        subtitle=subtitle or _subtitle(reports),
        document={
            "reports": [
                _report(report, name)
                for report, name in zip(reports, labels or plot.labels(reports), strict=True)
            ],
            "tables": [_table(table) for table in tables],
            "colours": _colours(reports),
        },
    )
    with write_atomically(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _render(title: str, subtitle: str, document: dict[str, Any]) -> str:
    from plotly.offline import get_plotlyjs

    assets = files("plait.sim.report") / "assets"
    data = json.dumps(document, allow_nan=False, ensure_ascii=False, default=_plain)
    return Template((assets / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        version=escape(__version__),
        style=(assets / "page.css").read_text(encoding="utf-8"),
        script=(assets / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        data=data.replace("<", "\\u003c"),  # no text of a user can end the script element
    )


def _report(report: Report, label: str) -> dict[str, Any]:
    table = report.table
    rows = table[[key for key in _ROW_KEYS if key in table]].to_dict("records")
    energy = [column for column in table if str(column).endswith("_pj")]
    if energy:
        total = table["total_pj"] if "total_pj" in energy else table[energy].sum(axis="columns")
        for row, energy_pj in zip(rows, total, strict=True):
            row["energy_pj"] = energy_pj
    memory = table.loc[table["bound"] == "memory", "seconds"].sum() / report.seconds
    return {
        "label": label,
        "fidelity": report.fidelity,
        "totals": report.totals,
        "rungs": [{"name": name, "seconds": seconds} for name, seconds in plot.causes(report)],
        "roofs": [
            {
                "name": roof.name,
                "operations_per_s": roof.operations_per_s,
                "bytes_per_s": roof.bytes_per_s,
            }
            for roof in report.roofs
        ],
        "memory_share": memory,
        "rows": rows,
    }


def _table(table: Table) -> dict[str, Any]:
    frame = table.frame.astype(object).where(table.frame.notna(), None)
    return {
        "title": table.title,
        "note": table.note,
        "leading": table.leading,
        "columns": [str(column) for column in frame.columns],
        "rows": frame.to_numpy().tolist(),
    }


def _colours(reports: Sequence[Report]) -> dict[str, Any]:
    names = dict.fromkeys(name for report in reports for name in report.rungs)
    return {
        "kinds": plot.KIND_COLOURS,
        "series": plot.SERIES_COLOURS,
        "causes": {name: plot.colour_of_cause(name, index) for index, name in enumerate(names)},
    }


def _title(reports: Sequence[Report]) -> str:
    models = list(dict.fromkeys(report.model for report in reports))
    machines = list(dict.fromkeys(report.accelerator for report in reports))
    many = f"{len(machines)} machines"
    return f"{', '.join(models)} on {machines[0] if len(machines) == 1 else many}"


def _subtitle(reports: Sequence[Report]) -> str:
    runs = dict.fromkeys(
        f"{report.phase}, context {report.context}, batch {report.batch}" for report in reports
    )
    said = dict.fromkeys(line for report in reports for line in changes(report))
    return "; ".join([*runs, *said])


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
