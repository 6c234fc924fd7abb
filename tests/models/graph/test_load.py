"""`load_graph` from every source, and the cache of zoo graphs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plait.errors import GraphError, PlaitError
from plait.models.graph import Graph, export_module, load_graph
from plait.models.llm import build_decoder, load_shape

SHAPE = load_shape("smollm2-135m").with_(layers=2, vocab=64)
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folder(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "tiny-llama"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(LLAMA | changes))
    return path


def test_a_module_a_program_and_a_graph() -> None:
    module = build_decoder(SHAPE)
    graph = load_graph(module)
    assert graph == export_module(module)
    assert load_graph(graph) is graph
    program = torch.export.export(module, module.example_inputs(2, 3, 0))
    assert load_graph(program).ops == graph.ops
    inputs = (torch.zeros(2, 3, dtype=torch.long, device="meta"),)
    assert load_graph(module, inputs) == graph


def test_a_shape_is_cached(cache: Path) -> None:
    graph = load_graph(SHAPE)
    (entry,) = (cache / "graphs").iterdir()
    assert Graph.from_json(entry.read_text()) == graph == load_graph(SHAPE)
    load_graph(SHAPE.with_(ffn=64))
    assert len(list((cache / "graphs").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"kind": "plait graph 1"}'])
def test_a_damaged_entry_is_made_again(damage: bytes, cache: Path) -> None:
    graph = load_graph(SHAPE)
    (entry,) = (cache / "graphs").iterdir()
    entry.write_bytes(damage)
    assert load_graph(SHAPE) == graph
    assert Graph.from_json(entry.read_text()) == graph


def test_a_cache_that_cannot_be_written_only_costs_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert load_graph(SHAPE).parameters == SHAPE.parameters


def test_a_cached_graph_needs_no_torch(cache: Path) -> None:
    load_graph("gpt2")
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from plait.models.graph import load_graph\n"
        "work = load_graph('gpt2').bind('decode', 1, 256)\n"
        "print(work.shape.layers, len(work.table))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PLAIT_CACHE": str(cache)},
    )
    assert done.stdout.split() == ["12", "17"], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["opt-125m", "gpt2", "phi-2", "qwen3-0.6b", "qwen3-30b-a3b", "gemma-2b", "llama-3-8b"]
)
def test_shapes_of_the_zoo_are_recovered(name: str) -> None:
    shape = load_shape(name).with_(layers=2)
    graph = load_graph(shape)
    assert graph.parameters == shape.parameters
    recovered = graph.shape
    assert recovered is not None
    costs_nothing = ("norm_eps", "rope_theta", "embedding_scale", "experts_renormalise")
    kept = {key: getattr(shape, key) for key in costs_nothing}
    assert recovered.with_(**kept) == shape


def test_a_hugging_face_folder(tmp_path: Path, cache: Path) -> None:
    graph = load_graph(folder(tmp_path))
    assert graph.name == "tiny-llama"
    assert graph.op("layers.*.mlp.gate_proj").cout == 160
    assert load_graph(str(tmp_path / "tiny-llama")) == graph
    assert len(list((cache / "graphs").iterdir())) == 1
    wider = load_graph(folder(tmp_path, intermediate_size=96))
    assert wider.op("layers.*.mlp.gate_proj").cout == 96


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "no-such-model"},
        {"num_hidden_layers": 10**9},
        {"hidden_size": 10**15},
        {"hidden_size": "wide"},
        {"num_attention_heads": 5},
        {"model_type": None, "auto_map": {"AutoModelForCausalLM": "code.Model"}},
    ],
)
def test_a_folder_with_a_bad_configuration(changes: dict, tmp_path: Path) -> None:
    with pytest.raises(PlaitError) as caught:
        load_graph(folder(tmp_path, **changes))
    assert "config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"config\.json"):
        load_graph(tmp_path)


def test_names_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="did you mean llama-2-7b"):
        load_graph("llama2-7b")
    with pytest.raises(GraphError, match=r"none\.pt2"):
        load_graph(tmp_path / "none.pt2")
    with pytest.raises(PlaitError):
        load_graph("x" * 5000)
    with pytest.raises(GraphError, match="not a model"):
        load_graph(7)  # type: ignore[arg-type]
