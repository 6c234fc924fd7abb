"""The documentation keeps its word: every page's files, commands and Python run, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from plait.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"```(sh|python|yaml)\n(.*?)```", re.DOTALL)
TOOLS = ("generate", "cosimulate", "area", "agreement", "waveform", "demo")


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    joined = block.replace("\\\n", " ")
    return [line.partition(" # ")[0].strip() for line in joined.splitlines() if line.strip()]


def marks(page: Path) -> list[pytest.MarkDecorator]:
    text = "\n".join(body for _, body in blocks(page))
    needs_gates = any(f"plait {tool}" in text or f"plait.{tool}" in text for tool in TOOLS)
    wanted = [pytest.mark.slow] if text else []
    if needs_gates or "smollm2" in text:
        wanted.append(pytest.mark.model)
    return [*wanted, pytest.mark.rtl] if needs_gates else wanted


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=marks(p), id=str(p.relative_to(ROOT / "docs"))) for p in PAGES],
)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()  # as if this were the repository
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    python = []
    for kind, body in blocks(page):
        if kind == "yaml" and body.startswith("# "):
            Path(body.split()[1]).write_text(body, encoding="utf-8")
        elif kind == "sh":
            for command in commands(body):
                run(command)
        elif kind == "python":
            python.append(body)
    if python:  # the blocks of a page go on from one another
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(python)],
            env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def run(command: str) -> None:
    """Run a plait command here; others (make, viewers) only have to be of a known kind."""
    words = shlex.split(command)
    if words[0] == "plait":
        assert main(words[1:]) == 0, command
    else:
        assert words[0] in ("make", "python", "gtkwave", "surfer"), command


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for page in ("index.html", "rtl/plait_bs_pe/index.html", "formats/bitmod/index.html"):
        assert (tmp_path / "site" / page).is_file()
