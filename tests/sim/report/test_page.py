"""The HTML page: whole, self-contained, safe with any text, and complete in its data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import plait
from plait.errors import PlaitError
from plait.sim.report.page import Table, write_page
from plait.sim.report.report import Report


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    graph = plait.load_model("smollm2-135m")
    return [plait.simulate(graph, machine) for machine in ("bitmod-lossy", "ant", "a100-80g")]


def document(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_data_of_several_machines(reports: list[Report], tmp_path: Path) -> None:
    page = write_page(reports, tmp_path / "page.html").read_text(encoding="utf-8")
    data = document(page)
    assert [entry["label"] for entry in data["reports"]] == ["bitmod-lossy", "ant", "a100-80g"]
    for entry, report in zip(data["reports"], reports, strict=True):
        assert len(entry["rows"]) == len(report.table)
        assert sum(row["seconds"] for row in entry["rows"]) == pytest.approx(report.seconds)
        assert sum(rung["seconds"] for rung in entry["rungs"]) == pytest.approx(report.seconds)
        assert entry["roofs"]
        assert 0 <= entry["memory_share"] <= 1 + 1e-12


def test_nothing_is_fetched(reports: list[Report], tmp_path: Path) -> None:
    page = write_page(reports[0], tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=(?!\"data:)", page) == []
    assert "Plotly.react" in page
    assert "plotly.js v" in page


def test_text_of_a_user_stays_text(reports: list[Report], tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    frame = pd.DataFrame({evil: [evil, None], "figure": [1.5, float("nan")]})
    table = Table(evil, frame, note=evil, leading=True)
    page = write_page(reports[0], tmp_path / "p.html", title=evil, subtitle=evil, tables=[table])
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert document(text)["tables"][0]["rows"] == [[evil, 1.5], [None, None]]


def test_a_page_of_tables_alone(tmp_path: Path) -> None:
    table = Table("Formats", pd.DataFrame({"format": ["int4"], "bits": [4]}))
    page = write_page([], tmp_path / "page.html", title="Formats", tables=[table])
    assert document(page.read_text(encoding="utf-8"))["reports"] == []


def test_a_folder_that_is_not_there(reports: list[Report], tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"page\.html: cannot be written"):
        write_page(reports[0], tmp_path / "none" / "page.html")
