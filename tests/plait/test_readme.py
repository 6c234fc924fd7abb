"""The README keeps its word: every command and every example in it runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from plait.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
FILES = re.findall(r"```yaml\n(# ([\w.]+).*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINES = [line.partition(" # ")[0].strip() for block in SHELL for line in block.splitlines()]
# what stands in backquotes in the text and in the tables
QUOTED = re.findall(r"`((?:plait|make) [^`]*)`", README)
COMMANDS = sorted({line for line in [*LINES, *QUOTED] if line.startswith("plait ")})
TARGETS = sorted({line.split()[1] for line in [*LINES, *QUOTED] if line.startswith("make ")})


def test_every_line_of_a_shell_block_is_known() -> None:
    assert [line for line in LINES if not line.startswith(("plait ", "make "))] == []
    assert len(COMMANDS) > 5


HEAVY = {
    "cosimulate": (pytest.mark.rtl, pytest.mark.model, pytest.mark.slow),
    "agreement": (pytest.mark.rtl, pytest.mark.model, pytest.mark.slow),
    "area": (pytest.mark.rtl, pytest.mark.slow),
    "study": (pytest.mark.model, pytest.mark.slow, pytest.mark.long),
    # the same command is on a page of the documentation, and run there
    "waveform": (pytest.mark.rtl, pytest.mark.slow, pytest.mark.long),
    "demo": (pytest.mark.rtl, pytest.mark.model, pytest.mark.slow),
}


@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=HEAVY.get(c.split()[1], ())) for c in COMMANDS]
)
def test_command(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for text, name in FILES:
        (tmp_path / name.rstrip(":")).write_text(text, encoding="utf-8")
    status = main(shlex.split(command)[1:])
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    if "--json" in command:
        json.loads(captured.out)


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_example(number: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PYTHON[number]],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_folders_exist() -> None:
    _, _, section = README.partition("## Folders")
    named = re.findall(r"^\| ((?:`[\w/]+`(?:, )?)+) \|", section, re.MULTILINE)
    folders = [folder for cell in named for folder in re.findall(r"`([\w/]+)`", cell)]
    assert len(folders) > 8
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
