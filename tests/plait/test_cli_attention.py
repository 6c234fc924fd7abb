"""`plait cosimulate` of an offload machine, around a run of no Verilog."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from plait.attention_cosimulation import AttentionCosimulation
from plait.cli import main

SHARDS = (1, 2, 3)
AGREEING = {
    "machine": "offload-small",
    "op": "layers.2.self_attn",
    "query_heads": 9,
    "kv_heads": 3,
    "head_size": 64,
    "values_compared": 600,
    "values_different": 0,
    "cycles_predicted": 1000,
    "cycles_measured": 1000,
    "slowest_cycles": 500,
    "orders": 2,
    "orders_different": 0,
    "split_difference": 0.25,
    "split_bound": 0.001,
    "float64_error": 0.0004,
    "outputs": np.zeros((9, 64)),
}


@pytest.fixture
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the run is asked for; the last device count of it answers with the test's changes."""
    seen: list[dict] = []

    def run(machine: object, **options: object) -> Iterator[AttentionCosimulation]:
        seen.append(options)
        for shards in SHARDS:
            changes = getattr(request, "param", {}) if shards == SHARDS[-1] else {}
            shape = {"format": options["format"], "tokens": options["tokens"], "shards": shards}
            yield AttentionCosimulation(**AGREEING | shape | changes)

    monkeypatch.setattr("plait.attention_cosimulation.cosimulate_attention_layer", run)
    return seen


def test_one_json_document(asked: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    options = "--layer layers.2.self_attn --format int8 --format int4 --tokens 50 --stall 0.5"
    assert main(["cosimulate", "offload-small", *options.split(), "--seed", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["machine"] == "offload-small"
    runs = [(run["format"], run["shards"]) for run in document["runs"]]
    assert runs == [(format, shards) for format in ("int8", "int4") for shards in SHARDS]
    assert document["runs"][0]["cycles_measured"] == 1000
    assert "outputs" not in document["runs"][0]
    same = {"layer": 2, "tokens": 50, "stall": 0.5, "seed": 3}
    assert asked == [same | {"format": "int8"}, same | {"format": "int4"}]


def test_a_table(asked: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cosimulate", "offload-small"]) == 0
    out = capsys.readouterr().out
    assert "offload-small: 9 query heads, 1024 tokens" in out
    assert "0.0004" in out
    assert [options["layer"] for options in asked] == [0]


@pytest.mark.parametrize(
    "asked",
    [
        {"values_different": 1},
        {"cycles_measured": 1001},
        {"orders_different": 1},
        {"split_difference": 1.5},
    ],
    indirect=True,
    ids=str,
)
def test_any_difference_is_status_1(asked: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cosimulate", "offload-small", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["runs"]) == len(SHARDS)


@pytest.mark.parametrize("layer", ["3", "layers.0.mlp", "layers.x.self_attn"])
def test_another_layer_is_refused(
    layer: str, asked: list[dict], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cosimulate", "offload-small", "--layer", layer]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: --layer: the machine computes attention alone")
    assert "such as layers.0.self_attn" in err
    assert err.count("\n") == 1
    assert asked == []
