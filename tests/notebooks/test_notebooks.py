"""Every notebook runs from a fresh kernel, is short, and imports nothing but plait."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import nbformat
import pytest

PATHS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MOST_CELLS = 30
MOST_BYTES = 400_000  # outputs included: a few figures


def test_they_are_there() -> None:
    assert [path.name[:2] for path in PATHS] == [f"{i + 1:02d}" for i in range(len(PATHS))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_short_and_only_plait(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) < MOST_CELLS
    assert path.stat().st_size < MOST_BYTES
    assert notebook.cells[0].cell_type == "markdown"
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] == "plait" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] == "plait"
        assert not isinstance(node, ast.FunctionDef) or len(node.body) <= 3  # no logic


def marks(path: Path) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.rtl,) if "plait.cosimulate(" in path.read_text(encoding="utf-8") else ()


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", [pytest.param(p, marks=marks(p), id=p.stem) for p in PATHS])
def test_it_runs(path: Path) -> None:
    spec = importlib.util.spec_from_file_location("execute", Path(__file__).with_name("execute.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.execute(path)
