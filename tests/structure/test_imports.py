"""Who imports whom, and that nothing loads torch before it is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "accelerate"}:
            raise ImportError(name + " must not be loaded here")

sys.meta_path.insert(0, Refuse())
names = sys.argv[1:]
for name in names:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(found.name)
"""
TORCH_FREE_MODELS = (
    "plait.models.formats",
    "plait.models.graph.ops",
    "plait.models.graph.graph",
    "plait.models.graph.workload",
    "plait.models.graph.counts",
    "plait.models.graph.rewrites",
    "plait.models.llm.config",
    "plait.models.quantize.tensor",
    "plait.models.quantize.granularity",
    "plait.models.quantize.rtn",
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd="/", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("names", [["plait.sim"], ["plait.cli"], TORCH_FREE_MODELS])
def test_imports_without_torch(names: list[str]) -> None:
    done = python("-c", WITHOUT_TORCH, *names)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["plait", "plait.cli.app", "plait.api", "plait.doctor"])
def test_the_face_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "transformers", "numpy", "pandas", "numba", "matplotlib", "plotly", "scipy"}
    done = python("-c", f"import sys, {module}; print(*(set(sys.modules) & {heavy!r}))")
    assert (done.stdout.split(), done.returncode) == ([], 0), done.stderr


def test_a_simulation_in_closed_form_compiles_nothing() -> None:
    """Numba takes half a second to come."""
    code = "import sys, plait.sim.families.bit_serial_cycles; print('numba' in sys.modules)"
    assert python("-c", code).stdout.strip() == "False"


@pytest.mark.parametrize("strand", ["models", "sim", "hwgen"])
def test_a_strand_refuses_a_second_name(strand: str) -> None:
    done = python("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {strand}")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].startswith(f"ImportError: import plait.{strand}")


def test_import_contracts() -> None:
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert tool, "import-linter is missing: pip install import-linter"
    done = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
