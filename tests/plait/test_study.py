"""The study on a tiny model: rows, resuming, refusals. The real one: `plait study`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from plait import api, study, study_page
from plait.cli import main
from plait.errors import PlaitError, SpecError
from plait.models.llm import Decoder, LLMShape
from plait.models.quantize import method_names

KL = tuple(f"kl_nats_{text}" for text in study.TEXTS)
EFFORT = study.Effort(windows=2, window=32, calibration_windows=1)
ONLY = ("rtn int4", "edkm palette 4 bit", "gptq int4")


class Letters:
    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(letter) % 64 for letter in text[:20000]]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    torch.manual_seed(0)
    sizes = {"layers": 1, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 128}
    module = Decoder(LLMShape(name="tiny", **sizes, vocab=64, max_positions=512)).eval()
    module.requires_grad_(False).tokenizer = Letters()
    module.weights_note = "Weights came as letters."
    loaded: list[str] = []
    monkeypatch.setattr(api, "load_module", lambda name: loaded.append(name) or module)
    return loaded


def test_rows_and_going_on(loads: list[str], tmp_path: Path) -> None:
    first = study.run(tmp_path, "tiny", EFFORT, ONLY[:1], workers=1)
    rows = study.run(tmp_path, "tiny", EFFORT, ONLY, workers=1)
    assert rows[0] == first[0]
    assert [row["name"] for row in rows] == list(ONLY)
    assert len(loads) == 2
    assert study.run(tmp_path, "tiny", EFFORT, ONLY, workers=1) == rows
    assert len(loads) == 2  # all was there
    for row in rows:
        assert 4 <= row["bits_per_weight"] < 5
        assert row["kl_nats_novel"] > 0
        assert row["kl_nats_error_novel"] > 0
        assert row["perplexity_regulations"] > 1
        assert row["token_us_a6000"] > 0
    assert "lookup_table" in rows[1]["refused_bitmod-lossy"]
    assert rows[0]["token_us_bitmod-lossy"] > 0
    assert rows[0]["token_mj_bitmod-lossy"] > 0
    table = study.front(rows)
    assert table["bits_per_weight"].is_monotonic_increasing
    assert table["on_front"].iloc[0]


def test_another_study_is_not_continued(loads: list[str], tmp_path: Path) -> None:
    (tmp_path / study.FILE).write_text('{"model": "other"}\n')
    with pytest.raises(SpecError, match="rows of another study"):
        study.run(tmp_path, "tiny", EFFORT, ONLY[:1], workers=1)
    (tmp_path / study.FILE).write_text("{")
    with pytest.raises(SpecError, match="not the rows of a study"):
        study.run(tmp_path, "tiny", EFFORT, ONLY[:1], workers=1)


def test_an_unknown_method_lists_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="gptq int4"):
        study.run(tmp_path, "tiny", EFFORT, ("gptq int5",))


def test_the_page_the_file_and_the_drawing(
    loads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One run of the command; then everything again from the rows kept, byte for byte."""
    monkeypatch.setattr(study, "Effort", lambda: EFFORT)
    page, html, csv = tmp_path / "page.md", tmp_path / "page.html", tmp_path / "rows.csv"
    page.write_text(f"# Title\n\n{study_page._BEGIN}\nold\n{study_page._END}\n\nThe end.\n")
    command = ["study", "tiny", "-o", str(tmp_path / "kept"), "--json", "--workers", "1"]
    command += [part for name in ONLY for part in ("--only", name)]
    assert main([*command, "--write", str(page), "--html", str(html), "--csv", str(csv)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == list(ONLY)
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("The end.\n")
    assert "old" not in text
    assert "Weights came as letters." in text
    assert "2 windows of 32 tokens of each text (62 predictions)" in text
    assert "| edkm palette 4 bit" in text
    assert "cannot (1)" in text
    assert "- (1) " in text
    drawing = (tmp_path / "page-front.svg").read_bytes()
    assert b"gptq int4" in drawing
    assert "<svg" in html.read_text()
    assert len(csv.read_text().splitlines()) == 1 + len(ONLY)
    study_page.document(page, rows, EFFORT)
    assert page.read_text() == text
    assert (tmp_path / "page-front.svg").read_bytes() == drawing


def test_the_front_has_no_equal_that_is_worse() -> None:
    points = [(4, 0.3), (4, 0.2), (5, 0.25), (3, 0.9), (6, 0.1)]
    rows = [
        {"name": str(place), "bits_per_weight": bits} | dict.fromkeys(KL, divergence)
        for place, (bits, divergence) in enumerate(points)
    ]
    table = study.front(rows)
    assert table["name"].tolist() == ["3", "1", "0", "2", "4"]
    assert table["on_front"].tolist() == [True, True, False, False, True]


def test_a_file_without_a_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Title\n")
    with pytest.raises(SpecError, match="no place for the table"):
        study_page.document(tmp_path / "page.md", [], EFFORT)


def test_methods_name_what_they_are() -> None:
    """Every method of quantising is in the study, under one name."""
    names = [method.name for method in study.METHODS]
    assert len(set(names)) == len(names)
    assert set(method_names()) <= {method.method for method in study.METHODS}


def test_a_full_study_has_every_method_and_a_quick_one_four() -> None:
    assert study._chosen((), study.Effort()) == list(study.METHODS)
    assert len(study._chosen((), study.Effort.quick())) == 4


def test_methods_of_one_recipe_are_quantised_once(
    loads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantised: list[str] = []
    quantize = api.quantize
    monkeypatch.setattr(
        api, "quantize", lambda *args, **options: quantised.append("") or quantize(*args, **options)
    )
    rows = study.run(
        tmp_path, "tiny", EFFORT, ("dgq int4", "dgq int4, int8 activations"), workers=1
    )
    assert len(quantised) == 1
    assert rows[0]["bits_per_weight"] == rows[1]["bits_per_weight"]
    assert rows[0]["kl_nats_novel"] != rows[1]["kl_nats_novel"]


def test_processes_tell_what_is_wrong_and_leave_threads_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    with pytest.raises(PlaitError, match="no-such-model"):
        study.run(tmp_path, "no-such-model", EFFORT, ONLY, workers=2)
    assert dict(os.environ) == before


def test_no_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="workers: out of range, got 0"):
        study.run(tmp_path, "tiny", EFFORT, ONLY, workers=0)
