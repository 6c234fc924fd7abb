"""The two matplotlib figures: what is drawn is what the reports say."""

from __future__ import annotations

import io

import numpy as np
import pytest

import plait
from plait.sim.report import plot
from plait.sim.report.report import Report


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    graph = plait.load_model("smollm2-135m")
    return [plait.simulate(graph, machine) for machine in ("bitmod-lossy", "a100-80g")]


def test_labels_say_only_what_differs(reports: list[Report]) -> None:
    assert plot.labels(reports) == ["bitmod-lossy", "a100-80g"]
    longer = plait.simulate("smollm2-135m", "a100-80g", context=512)
    names = plot.labels([*reports, longer])
    assert names[1:] == ["a100-80g · context 256", "a100-80g · context 512"]


def test_causes_add_up(reports: list[Report]) -> None:
    for report in reports:
        assert sum(seconds for _, seconds in plot.causes(report)) == pytest.approx(report.seconds)


def test_roofline_draws_every_op_that_has_traffic(reports: list[Report]) -> None:
    axes = plot.roofline(reports[0]).axes[0]
    drawn = sum(len(marks.get_offsets()) for marks in axes.collections)
    table = reports[0].table
    visible = (table["operations"] > 0) & (table["bytes"] > 0) & (table["seconds"] > 0)
    assert drawn == visible.sum() > 0
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.lines) == len(reports[0].roofs)


def test_no_op_is_above_the_highest_roof(reports: list[Report]) -> None:
    for report in reports:
        table = report.table[(report.table["operations"] > 0) & (report.table["seconds"] > 0)]
        rate = (table["operations"] / table["seconds"]).max()
        assert rate <= max(roof.operations_per_s for roof in report.roofs) * (1 + 1e-9)


def test_breakdown_bars_end_at_the_time(reports: list[Report]) -> None:
    axes = plot.breakdown(reports).axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert max(ends) == pytest.approx(max(report.seconds for report in reports))


@pytest.mark.slow
def test_figures_are_rendered(reports: list[Report]) -> None:
    for figure in (plot.roofline(reports), plot.breakdown(reports)):
        image = io.BytesIO()
        figure.savefig(image, format="png")
        assert image.getvalue().startswith(b"\x89PNG")


def test_colours_of_common_causes_do_not_move() -> None:
    assert plot.colour_of_cause("ideal", 0) == plot.colour_of_cause("ideal", 5)
    assert len({plot.colour_of_cause("x", i) for i in range(4)}) == 4
    assert np.all([colour.startswith("#") for colour in plot.SERIES_COLOURS])
