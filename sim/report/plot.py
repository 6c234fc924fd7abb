"""Two figures of reports: the roofline and the time by cause, drawn by matplotlib.

Both take Report objects and give a matplotlib Figure; page.py draws the same two for a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from plait.sim.report.report import Report
    from plait.sim.report.roof import Roof

__all__ = [
    "KIND_COLOURS",
    "SERIES_COLOURS",
    "breakdown",
    "causes",
    "colour_of_cause",
    "labels",
    "roofline",
]

# Okabe and Ito's set, which stays distinct for colour-blind readers, on light and dark ground.
SERIES_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#B8A800",
    "#8C8C8C",
)
KIND_COLOURS = {
    "linear": "#0072B2",
    "attention": "#E69F00",
    "norm": "#009E73",
    "elementwise": "#CC79A7",
    "activation": "#56B4E9",
    "rope": "#D55E00",
    "embedding": "#B8A800",
    "experts": "#6A5ACD",
    "router": "#8C6D46",
    "topk": "#8C6D46",
}
_OTHER = SERIES_COLOURS[-1]
_LINES = ("-", "--", ":", "-.")


def roofline(reports: Report | Sequence[Report]) -> Figure:
    """Draw operations a second over operations a byte, both axes logarithmic.

    One line a peak and bandwidth of each machine, one mark an op; the area of a mark is its share
    of its report's time, the colour its kind. Ops without operations or traffic are not drawn.
    """
    reports = _as_list(reports)
    figure, axes = _new_figure(width=7.0, height=4.6)
    for report in reports:
        _draw_ops(axes, report)
    roofs = [roof for report in reports for roof in report.roofs]
    low, high = _span(reports, roofs)
    for index, roof in enumerate(roofs):
        _draw_roof(axes, roof, low, high, _LINES[index % len(_LINES)])
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set(xlabel="operations a byte", ylabel="operations a second")
    axes.grid(visible=True, which="major", alpha=0.3)
    _legend_below(axes)
    return figure


def breakdown(reports: Report | Sequence[Report]) -> Figure:
    """Draw one stacked bar of time by cause for each report, in seconds."""
    reports = _as_list(reports)
    figure, axes = _new_figure(width=7.0, height=1.6 + 0.45 * len(reports))
    names = labels(reports)
    left = np.zeros(len(reports))
    by_cause = [dict(causes(report)) for report in reports]
    for index, cause in enumerate(dict.fromkeys(name for one in by_cause for name in one)):
        seconds = np.array([one.get(cause, 0.0) for one in by_cause])
        colour = colour_of_cause(cause, index)
        axes.barh(names, seconds, left=left, label=cause.replace("_", " "), color=colour)
        left += seconds
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.grid(visible=True, axis="x", alpha=0.3)
    _legend_below(axes)
    return figure


def labels(reports: Sequence[Report]) -> list[str]:
    """Name each report by its machine and by whatever else differs; no two names are alike."""
    parts = [
        (report.accelerator, report.model, report.phase, *_sizes(report), report.fidelity)
        for report in reports
    ]
    differs = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    keep = [index for index, differ in enumerate(differs) if differ or index == 0]
    names = [" · ".join(part[index] for index in keep) for part in parts]
    return [_numbered(name, names[:index]) for index, name in enumerate(names)]


def _numbered(name: str, earlier: list[str]) -> str:
    """A machine run twice with other formats has the same name: the second gets a number."""
    count = earlier.count(name)
    return f"{name} ({count + 1})" if count else name


def _sizes(report: Report) -> tuple[str, str]:
    return f"context {report.context}", f"batch {report.batch}"


def causes(report: Report) -> list[tuple[str, float]]:
    """The report's rungs in seconds, in order; they add up to its time."""
    clocked = report.totals.get("cycles")
    seconds_per_unit = report.seconds / clocked if clocked else 1.0
    return [(name, float(report.table[name].sum()) * seconds_per_unit) for name in report.rungs]


def colour_of_cause(cause: str, index: int) -> str:
    """The colour of a rung: the same in every figure for the common ones, else by its place."""
    common = {"ideal": 0, "memory_stall": 1, "memory": 1, "compute": 4}
    if cause in common:
        return SERIES_COLOURS[common[cause]]
    others = [c for i, c in enumerate(SERIES_COLOURS) if i not in common.values()]
    return others[index % len(others)]


def _as_list(reports: Report | Sequence[Report]) -> list[Report]:
    return list(reports) if isinstance(reports, Sequence) else [reports]


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # no pyplot: no window system and no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _drawable(report: Report) -> pd.DataFrame:
    table = report.table
    return table[(table["operations"] > 0) & (table["bytes"] > 0) & (table["seconds"] > 0)]


def _span(reports: Sequence[Report], roofs: Sequence[Roof]) -> tuple[float, float]:
    """Both ends of the axis of operations a byte: every mark and every ridge is inside."""
    drawn = [table["operations"] / table["bytes"] for table in map(_drawable, reports)]
    corners = np.concatenate([*drawn, [roof.ridge for roof in roofs]])
    return (float(corners.min()) / 3, float(corners.max()) * 4) if corners.size else (0.1, 1000.0)


def _draw_ops(axes: Axes, report: Report) -> None:
    for kind, rows in _drawable(report).groupby("kind", sort=False):
        axes.scatter(
            rows["operations"] / rows["bytes"],
            rows["operations"] / rows["seconds"],
            s=18 + 900 * rows["seconds"] / report.seconds,
            color=KIND_COLOURS.get(str(kind), _OTHER),
            label=str(kind),
            alpha=0.75,
            edgecolors="white",
        )


def _draw_roof(axes: Axes, roof: Roof, low: float, high: float, style: str) -> None:
    ends = np.array([low, roof.ridge, high])
    height = np.minimum(ends * roof.bytes_per_s, roof.operations_per_s)
    axes.plot(ends, height, style, color="#555555", label=roof.name)


def _legend_below(axes: Axes) -> None:
    """One entry a name (several reports share their kinds), under the axes where nothing hides."""
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    axes.figure.legend(once.values(), once.keys(), loc="outside lower left", ncols=4, fontsize=8)
