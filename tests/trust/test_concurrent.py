"""Runs that start at once in one empty cache folder: all are right, nothing is half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plait.models.graph import load_graph

RUNS = 4
PLAIT = "import sys; from plait.cli import main; sys.exit(main())"
SHARING = """
import sys
from pathlib import Path
from plait.models.graph import Graph
from plait.models.graph.cache import cached

text = Path(sys.argv[1]).read_text(encoding="utf-8")
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    found = cached(f"entry {number}", lambda: Graph.from_json(text))
    assert found.to_json() == text, number
"""


def started(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PLAIT_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", *arguments], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(runs: list[subprocess.Popen[str]], give: str = "") -> list[str]:
    """Let all run on at once to their end; what they wrote."""
    for run in runs:
        assert run.stdin
        run.stdin.write(give)
        run.stdin.flush()
    outputs = [run.communicate(timeout=600) for run in runs]
    assert [(run.returncode, error) for run, (_, error) in zip(runs, outputs, strict=True)] == [
        (0, "")
    ] * len(runs)
    return [output for output, _ in outputs]


@pytest.mark.slow
def test_processes_that_read_and_write_the_same_entries(tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(load_graph("opt-1.3b").to_json(), encoding="utf-8")
    runs = [started(tmp_path, SHARING, str(graph)) for _ in range(RUNS)]
    for run in runs:
        assert run.stdout
        assert run.stdout.readline() == "ready\n"
    ended(runs, "go\n")
    kept = list((tmp_path / "graphs").iterdir())
    assert len(kept) == 40  # one file an entry, no temporary one
    assert {path.suffix for path in kept} == {".json"}


@pytest.mark.long
def test_simulations_that_trace_the_same_model(tmp_path: Path) -> None:
    arguments = ("simulate", "opt-1.3b", "bitmod-lossy", "--fidelity", "published", "--json")
    outputs = ended([started(tmp_path, PLAIT, *arguments) for _ in range(RUNS)])
    assert {json.loads(text)["totals"]["cycles"] for text in outputs} == {16558070}
    assert len(list((tmp_path / "graphs").iterdir())) == 1


@pytest.mark.long
@pytest.mark.model
@pytest.mark.rtl
def test_cosimulations_that_build_the_same_machine(tmp_path: Path) -> None:
    arguments = ("cosimulate", "bitmod-small", "--layer", "layers.0.self_attn.k_proj", "--json")
    outputs = ended([started(tmp_path, PLAIT, *arguments) for _ in range(2)])
    assert len(set(outputs)) == 1
    (program,) = (p for p in (tmp_path / "native").iterdir() if p.suffix != ".log")
    assert os.access(program, os.X_OK)
