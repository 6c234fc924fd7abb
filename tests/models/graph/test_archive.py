""".pt2 files: the same graph as the module, no pickled code, one line for damaged files."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from plait.errors import GraphError, PlaitError
from plait.models.graph import export_module, load_graph, save
from plait.models.graph.archive import graph_from_document
from plait.models.graph.export import export_program
from plait.models.llm import build_decoder, load_shape

SHAPE = load_shape("mixtral-8x7b").with_(
    layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16, ffn=96, vocab=50
)
_SANE_SECONDS = 60
MUTATIONS = 150


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "model.pt2"
    save(export_program(build_decoder(SHAPE)), path)
    return path


def rewritten(source: Path, target: Path, change) -> Path:
    """Copy a .pt2 with each member's name and bytes passed through ``change``; None drops it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def edited(source: Path, target: Path, edit) -> Path:
    """Copy a .pt2 whose program was changed by ``edit``."""

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        document = json.loads(data)
        edit(document)
        return json.dumps(document).encode()

    return rewritten(source, target, change)


def test_round_trip(saved: Path) -> None:
    graph = load_graph(saved)
    assert graph.ops == export_module(build_decoder(SHAPE)).ops
    assert graph.name == "model"


@pytest.mark.slow
def test_symbolic_sizes(tmp_path: Path) -> None:
    shape = load_shape("llama-3-8b").with_(layers=2, vocab=64)
    module = build_decoder(shape)
    batch, query, past = (torch.export.Dim(name) for name in ("b", "q", "p"))
    sizes = ({0: batch, 1: query}, {1: batch, 3: past}, {1: batch, 3: past})
    program = torch.export.export(module, module.example_inputs(3, 5, 7), dynamic_shapes=sizes)
    save(program, tmp_path / "dynamic.pt2")
    graph = load_graph(tmp_path / "dynamic.pt2")
    assert graph.ops == load_graph(program).ops == export_module(module).ops


def test_blocks_without_gradients_are_inlined(tmp_path: Path) -> None:
    class Guarded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(8, 12), torch.nn.Linear(12, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            with torch.no_grad():
                x = torch.nn.functional.silu(x) * 2
                y = x + 1
            with torch.autocast("cpu", enabled=False):
                return self.b(x * y)

    program = torch.export.export(Guarded(), (torch.zeros(3, 7, 8),))
    assert any("set_grad" in str(node.target) for node in program.graph.nodes)
    save(program, tmp_path / "guarded.pt2")
    graph = load_graph(tmp_path / "guarded.pt2")
    assert [op.path for op in graph.ops] == ["a", "silu", "mul", "add", "mul_2", "b"]
    assert graph.ops == load_graph(program).ops


def test_quantised_formats_survive(tmp_path: Path) -> None:
    from plait.models.quantize.swap import quantize_module

    small = quantize_module(build_decoder(SHAPE, "cpu"), "int4", 32)
    save(export_program(small), tmp_path / "small.pt2")
    graph = load_graph(tmp_path / "small.pt2")
    assert graph.ops == export_module(small).ops
    assert {op.weight_format for op in graph.ops if op.kind == "experts"} == {"int4"}


def test_no_torch_and_no_pickle(saved: Path, tmp_path: Path) -> None:
    """A file whose pickled members would leave a mark when loaded, in a process without torch."""
    mark = tmp_path / "mark"

    class Trap:
        def __reduce__(self):
            return Path.touch, (mark,)

    trap = pickle.dumps(Trap())
    trapped = rewritten(
        saved,
        tmp_path / "trapped.pt2",
        lambda name, data: trap if "/data/" in name else data,
    )
    script = (
        "import pickle, sys; sys.modules['torch'] = None; pickle.loads = pickle.load = None\n"
        "from plait.models.graph import load_graph\n"
        f"print(load_graph({str(trapped)!r}).parameters)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=_SANE_SECONDS
    )
    assert done.stdout.strip() == str(SHAPE.parameters), done.stderr
    assert not mark.exists()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", b" " * (65 << 20))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        b"GGUF" + bytes(100),
        b"PK\x03\x04" + bytes(50),
        pickle.dumps({"a": 1}),
        bomb(),
    ],
    ids=["empty", "text", "gguf", "cut", "pickle", "bomb"],
)
def test_files_of_another_kind(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt2"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"bad\.pt2") as caught:
        load_graph(path)
    assert "\n" not in str(caught.value)


def test_cut_short_anywhere(saved: Path, tmp_path: Path) -> None:
    data, path = saved.read_bytes(), tmp_path / "cut.pt2"
    for part in range(20):
        path.write_bytes(data[: len(data) * part // 20])
        with pytest.raises(GraphError, match=r"cut\.pt2"):
            load_graph(path)


def test_bytes_flipped_anywhere(saved: Path, tmp_path: Path) -> None:
    """Damage is a GraphError or does not matter."""
    data, path = bytearray(saved.read_bytes()), tmp_path / "flipped.pt2"
    for at in range(0, len(data), len(data) // 60):
        damaged = data.copy()
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        with contextlib.suppress(GraphError):
            load_graph(path)


def nest(document: dict) -> None:
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    document["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_ints": []}
    document["graph_module"]["graph"]["nodes"] = "deep"


EDITS = {
    "no module": lambda d: d.pop("graph_module"),
    "no nodes": lambda d: d["graph_module"]["graph"].pop("nodes"),
    "nodes of text": nest,
    "null": lambda d: d["graph_module"].update(graph=None),
    "unknown op": lambda d: d["graph_module"]["graph"]["nodes"][3].update(target="torch.ops.my.op"),
    "unknown value": lambda d: d["graph_module"]["graph"].update(tensor_values={}),
    "cycle": lambda d: d["graph_module"]["graph"]["nodes"].reverse(),
    "code for a size": lambda d: d["graph_module"]["graph"]["tensor_values"]["tokens"].update(
        sizes=[{"as_expr": {"expr_str": "__import__('os').getpid()"}}, {"as_int": 3}]
    ),
    "size of a petabyte": lambda d: d["graph_module"]["graph"]["tensor_values"]["tokens"].update(
        sizes=[{"as_expr": {"expr_str": "9**9**9**9"}}, {"as_int": 3}]
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_programs_that_make_no_sense(edit, saved: Path, tmp_path: Path) -> None:
    path = edited(saved, tmp_path / "odd.pt2", edit)
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    assert "\n" not in str(caught.value)


def mutate(value: object, rng: random.Random) -> object:
    """Change one place of a JSON value, drawn by walking down at random."""
    if isinstance(value, dict | list) and value and rng.random() < 0.93:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value[key] = mutate(value[key], rng)  # type: ignore[index]
        return value
    return rng.choice([None, -1, 0, 3, 2**70, "", "tokens", "linear", [], {}, {"as_int": 0}, True])


@pytest.mark.slow
def test_any_one_thing_wrong_in_a_program(saved: Path) -> None:
    """Whatever is changed, the answer is a Graph or a GraphError of one line."""
    with zipfile.ZipFile(saved) as archive:
        text = archive.read("archive/models/model.json")
    rng = random.Random(0)
    refused = 0
    for _ in range(MUTATIONS):
        document = json.loads(text)
        module = document["graph_module"]
        part = rng.choice(
            [module, module["graph"], module["graph"]["nodes"], module["graph"]["nodes"]]
        )
        mutate(part, rng)
        try:
            graph_from_document(document, "mutant.pt2")
        except GraphError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1, repr(error)  # noqa: PT017
    assert refused > MUTATIONS // 8  # the rest changed what a graph does not read


def test_two_programs_are_refused(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "two.pt2", lambda name, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/models/other.json", "{}")
    with pytest.raises(GraphError, match="2 programs"):
        load_graph(path)


def test_saving_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept.pt2"
    path.write_text("before")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever torch says of a wrong type
        save("no program", path)  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(PlaitError, match="cannot be written"):
        save(export_program(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "no" / "x.pt2")
