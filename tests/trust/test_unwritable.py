"""A full disk and a read-only folder: one line, exit status 2, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("unwritable.py")
SAYS = {
    "full": ("file too large", "no space left", "file size limit"),
    "read-only": ("permission denied", "operation not permitted", "read-only"),
}


def ended(kind: str, folder: Path, *more: str) -> dict[str, list]:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(folder), *more],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def check(kind: str, seen: dict[str, list]) -> None:
    for command, (status, complaint, left) in seen.items():
        assert status == 2, (command, complaint)
        assert complaint.startswith("error: "), (command, complaint)
        assert complaint.count("\n") == 1, (command, complaint)
        assert any(words in complaint for words in SAYS[kind]), (command, complaint)
        assert left == [], command


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAYS)
def test_every_command_that_writes(kind: str, tmp_path: Path) -> None:
    check(kind, ended(kind, tmp_path))


@pytest.mark.long
@pytest.mark.model
@pytest.mark.parametrize("kind", SAYS)
def test_commands_that_take_longer(kind: str, tmp_path: Path) -> None:
    check(kind, ended(kind, tmp_path, "longer"))
