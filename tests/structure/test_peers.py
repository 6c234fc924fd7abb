"""The comparison with other programs says in one line which of them is not here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["llm-viewer"], "left out: LLM-Viewer is not here: give its checkout by --llm-viewer"),
        (["genz", "--python", "/nowhere"], "left out: /nowhere: cannot be started: no such file"),
    ],
)
def test_a_peer_that_is_not_installed(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PEERS), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
