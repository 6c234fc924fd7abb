"""What decides a result changes its hash, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.errors import PlaitError
from plait.models.graph import load_graph
from plait.models.graph.rewrites.registry import change_graph
from plait.sim import load_accelerator
from plait.sim.identity import identity
from plait.sim.serving.arrivals import load_generated
from plait.sim.sweep import load_space, sweep

SPACE = {"machine": "h100", "vary": {"memory.bandwidth_bytes_per_s": [1e12, 2e12]}}


@pytest.mark.parametrize("change", ["kv-format:format=int4", "flat-gemm:pad=8"])
def test_graphs_that_differ_in_one_field(change: str, tmp_path: Path) -> None:
    graph = load_graph("smollm2-135m")
    changed = change_graph(graph, change)
    assert load_space(SPACE, graph).fingerprint != load_space(SPACE, changed).fingerprint
    sweep(SPACE, graph, tmp_path / "a.parquet")
    with pytest.raises(PlaitError, match="not the result of this space"):
        sweep(SPACE, changed, tmp_path / "a.parquet")


def test_the_content_of_files_counts(tmp_path: Path) -> None:
    """Of a model, of a machine, and of a machine that another one names."""
    model, device = tmp_path / "model.pt2", tmp_path / "device.yaml"
    named = {"model": str(model), "pools": [{"machine": str(device)}]}
    seen = set()
    for file in (model, device, model):
        file.write_bytes(f"content {len(seen)}".encode())
        (tmp_path / "device.yaml").touch()
        seen.add(identity(named))
        assert identity(named) in seen
    assert len(seen) == 3


def test_a_folder_is_what_its_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = identity(str(tmp_path))
    (tmp_path / "notes.txt").write_text("nothing of the model")
    assert identity(str(tmp_path)) == before
    (tmp_path / "config.json").write_text("{ }")
    assert identity(str(tmp_path)) != before


def test_a_trace_that_lengths_are_drawn_from(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    told = {
        "requests": 2,
        "arrivals": {"kind": "constant", "rate_per_s": 4},
        "lengths": {"kind": "trace", "path": str(trace)},
    }
    seen = set()
    for context in (3, 4):
        trace.write_text(f"arrival_s,context,generated\n0,{context},1\n")
        seen.add(load_generated(told).identity)
    assert len(seen) == 2


def test_equal_descriptions_are_equal() -> None:
    machines = [load_accelerator("ant").model_dump() for _ in range(2)]
    assert identity(machines[0]) == identity(machines[1])
    assert identity(load_graph("opt-1.3b")) == identity(load_graph("opt-1.3b"))
