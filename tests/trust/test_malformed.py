"""Hundreds of malformed inputs of every kind of file: one line, no hang, little memory."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from plait.errors import SpecError
from plait.sim.serving.request import check, load_requests

SCRIPT = Path(__file__).with_name("malformed.py")
LONGEST_S = 5.0
MOST_MIB = 1024


def kinds() -> list[str]:
    spec = importlib.util.spec_from_file_location("malformed", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.KINDS)


def test_a_trace_that_unpacks_to_one_huge_line(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(b"arrival_s,context,generated\n")
        for _ in range(64):
            file.write(b"0" * (1 << 20))
    with pytest.raises(SpecError, match="a line is too long"):
        check(load_requests(path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds())
def test_malformed(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    run = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(folder)],
        capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    seen = json.loads(run.stdout.splitlines()[-1])
    assert seen["wrong"] == []
    assert seen["inputs"] >= 200
    assert seen["refused"] > seen["inputs"] / 4  # otherwise the mutants are too mild
    assert seen["slowest_s"] < LONGEST_S
    assert seen["grown_mib"] < MOST_MIB
    assert seen["strays"] == []  # nothing half-written beside the inputs
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]
