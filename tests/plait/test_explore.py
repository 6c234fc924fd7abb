"""Commands that explore: sweep, pareto and search, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import plait
from plait import accuracy
from plait.cli import main
from plait.errors import SpecError

SPACE = """\
model: smollm2-135m
machine: bitmod-lossy
context: [64, 256]
vary:
  array.decode.rows: {from: 8, to: 64, step: 8}
  array.decode.columns: [1, 2]
  formats.weight: [int4, bitmod3]
where: "area_mm2 < 6"
"""


def run(*arguments: str) -> int:
    return main([*arguments])


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def test_sweep_then_pareto(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = space.with_name("a.parquet")
    assert run("sweep", str(space), "-o", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["designs"] == len(pd.read_parquet(out)) == 64
    assert told["columns"][:4] == [
        "context", "array.decode.rows", "array.decode.columns", "formats.weight",
    ]  # fmt: skip
    csv = space.with_name("front.csv")
    assert run("pareto", str(out), "--minimise", "seconds,area_mm2", "--csv", str(csv)) == 0
    shown = capsys.readouterr().out
    assert f"{len(pd.read_csv(csv))} designs on the front" in shown
    assert run("pareto", str(out), "--json") == 0
    front = json.loads(capsys.readouterr().out)["designs"]
    assert front == json.loads(plait.pareto(out).to_json(orient="records"))


def test_a_front_says_what_it_could_not_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.parquet"
    plait.sweep({"model": "smollm2-135m", "machine": ["ant", "a100-40g"], "batch": [1, 2]}, out=out)
    assert run("pareto", str(out)) == 0
    assert "left out: 2 designs whose machine has no area_mm2\n" in capsys.readouterr().out
    assert run("pareto", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {design["machine"] for design in told["designs"]} == {"ant"}
    assert told["left_out"] == 2


def test_search(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", str(space), "--trials", "64", "--json") == 0
    assert json.loads(capsys.readouterr().out)["designs"]


def test_mistakes_end_in_one_line(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space.write_text(SPACE.replace("rows", "row"))
    assert run("sweep", str(space), "-o", str(space.with_name("a.parquet"))) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {space}:5: vary.array.decode.row: unknown key: did you mean")
    assert error.count("\n") == 1
    assert [path.name for path in space.parent.iterdir()] == ["space.yaml"]
    assert run("pareto", str(space)) == 2
    assert "not a parquet file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_perplexity_of_a_format_is_a_column(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Measured once, then kept by content."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    monkeypatch.setattr(accuracy, "_content", lambda: "same")
    measured = []
    monkeypatch.setattr(
        accuracy, "_measured", lambda name, *_: measured.append(name) or float(len(name))
    )
    space = {
        "model": "smollm2-135m",
        "machine": "bitmod-lossy",
        "vary": {"formats.weight": ["int4", "bitmod4", 5]},
        "accuracy": {"windows": 2},
    }
    for _ in range(2):
        frame = plait.sweep(space)
        assert frame["perplexity"][:2].tolist() == [4.0, 7.0]
        assert frame["perplexity"].isna().tolist() == [False, False, True]
    assert measured == ["int4", "bitmod4"]
    with pytest.raises(SpecError, match=r"expected formats\.weight among the varied keys"):
        plait.sweep({**space, "vary": {}})


@pytest.mark.model
@pytest.mark.slow
def test_a_front_with_measured_accuracy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    space = {
        "model": "smollm2-135m",
        "machine": "bitmod-lossy",
        "vary": {"formats.weight": ["int8", "bitmod3"], "array.decode.rows": [16, 64]},
        "accuracy": {"windows": 1},
    }
    front = plait.pareto(plait.sweep(space), ["perplexity", "seconds"])
    assert front["formats.weight"].tolist() == ["int8", "bitmod3"]
    assert front["array.decode.rows"].tolist() == [64, 64]
