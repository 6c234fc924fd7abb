"""Small habits that are checked: sizes of files, names, links, nothing of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_FILE_LINES = 600
TEXT = {".py", ".sv", ".svh", ".md", ".toml", ".yaml", ".j2", ".cpp", ".h", ".js", ".css", ".html"}
# Folders that exist on somebody's machine only. Built in two halves, so that this file passes.
MACHINE = re.compile("|".join(f"(?<![\\w.])/{name}/" for name in ("home", "root", "work", "Users")))


def files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("the folder is no git repository, so there is no list of its files")
    names = [name for name in listing.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if not (ROOT / name).is_symlink()]


def texts() -> dict[str, str]:
    kept = [f for f in files() if f.suffix in TEXT or f.name in ("Makefile", "run")]
    return {f.relative_to(ROOT).as_posix(): f.read_text(encoding="utf-8") for f in kept}


def test_no_file_is_too_long() -> None:
    sources = {n: t for n, t in texts().items() if n.endswith((".py", ".sv", ".svh", ".cpp"))}
    long = {name: text.count("\n") for name, text in sources.items()}
    assert {name: n for name, n in long.items() if n > LARGEST_FILE_LINES} == {}


def test_no_path_of_one_machine() -> None:
    assert [name for name, text in texts().items() if MACHINE.search(text)] == []


def test_files_end_with_one_newline() -> None:
    wrong = [
        name
        for name, text in texts().items()
        if text and (not text.endswith("\n") or text.endswith("\n\n"))
    ]
    assert wrong == []


def test_links_in_markdown_lead_somewhere() -> None:
    broken = []
    for name, text in texts().items():
        if not name.endswith(".md") or name.startswith("docs/"):  # MkDocs checks those
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (ROOT / name).parent.joinpath(target).exists():
                broken.append(f"{name}: {target}")
    assert broken == []


def test_every_python_file_says_what_it_is() -> None:
    silent = [
        name
        for name, text in texts().items()
        if name.endswith(".py") and text and not text.startswith(('"""', "#!"))
    ]
    assert silent == []
