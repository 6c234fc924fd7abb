"""The study on a tiny model: rows, resuming, refusals. The real one: `plait study`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plait import api, study
from plait.errors import SpecError
from plait.models.llm import Decoder, LLMShape

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
    loaded: list[str] = []
    monkeypatch.setattr(api, "load_module", lambda name: loaded.append(name) or module)
    return loaded


def test_rows_and_going_on(loads: list[str], tmp_path: Path) -> None:
    first = list(study.run(tmp_path, "tiny", EFFORT, ONLY[:1]))
    rows = list(study.run(tmp_path, "tiny", EFFORT, ONLY))
    assert rows[0] == first[0]
    assert [row["name"] for row in rows] == list(ONLY)
    assert len(loads) == 2
    assert list(study.run(tmp_path, "tiny", EFFORT, ONLY)) == rows
    assert len(loads) == 2  # all was there
    for row in rows:
        assert 4 <= row["bits_per_weight"] < 5
        assert row["kl_nats_novel"] > 0
        assert row["token_us_a6000"] > 0
    assert "lookup table" in rows[1]["refused_bitmod-lossy"]
    assert rows[0]["token_us_bitmod-lossy"] > 0
    assert rows[0]["token_mj_bitmod-lossy"] > 0
    table = study.front(rows)
    assert table["bits_per_weight"].is_monotonic_increasing
    assert table["on_front"].iloc[0]


def test_another_study_is_not_continued(loads: list[str], tmp_path: Path) -> None:
    (tmp_path / study.FILE).write_text('{"model": "other"}\n')
    with pytest.raises(SpecError, match="rows of another study"):
        list(study.run(tmp_path, "tiny", EFFORT, ONLY[:1]))
    (tmp_path / study.FILE).write_text("{")
    with pytest.raises(SpecError, match="not the rows of a study"):
        list(study.run(tmp_path, "tiny", EFFORT, ONLY[:1]))


def test_an_unknown_method_lists_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="gptq int4"):
        list(study.run(tmp_path, "tiny", EFFORT, ("gptq int5",)))
