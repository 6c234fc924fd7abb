"""The commands of changed models: what they print, and how they refuse."""

from __future__ import annotations

import json

import pytest

import plait
from plait.cli import main
from plait.errors import SpecError
from plait.models.graph import load_graph


def output(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    known = json.loads(output(["rewrites", "--json"], capsys))["rewrites"]
    assert len(known) == 9
    hip = next(one for one in known if one["name"] == "hip")
    assert hip["parameters"]["key_block"] == 2
    assert hip["changes_outputs"] is True
    assert "lm-infinite" in output(["rewrites"], capsys)


def test_simulate_takes_several(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "smollm2-135m", "lamina-h100-h20", "--context", "4096", "--json"]
    plain = json.loads(output(arguments, capsys))
    changes = ["--rewrite", "kv-format:format=int8", "--rewrite", "lm-infinite:sinks=4,window=508"]
    changed = json.loads(output([*arguments, *changes], capsys))
    assert [one["rewrite"].partition(":")[0] for one in changed["rewrites"]] == [
        "kv-format",
        "lm-infinite",
    ]
    assert changed["totals"]["attention_seconds"] < plain["totals"]["attention_seconds"] / 8
    assert "outputs change" in output([*arguments[:-1], *changes], capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["simulate", "smollm2-135m", "h100", "--rewrite", "hipp"], "did you mean hip?"),
        (["simulate", "smollm2-135m", "h100", "--rewrite", "hip:keep=3"], "keep: out of range"),
        (["longcontext", "smollm2-135m", "--rewrite", "gemfilter:keep=0"], "keep: out of range"),
        (["longcontext", "smollm2-135m", "--text", "no-such.txt"], "no-such.txt"),
    ],
)
def test_mistakes_end_with_2(arguments, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_graph_is_rewritten() -> None:
    graph = load_graph("smollm2-135m")
    assert plait.rewrite(graph, "grouped-kv:kv_heads=1").parameters < graph.parameters
    with pytest.raises(SpecError, match="changes the steps of a run, not the graph"):
        plait.rewrite(graph, "gemfilter")
