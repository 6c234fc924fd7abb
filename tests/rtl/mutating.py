"""What the tests of mutations share: a library with one patch, and a bench that must notice it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import RTL

__all__ = ["QUIET", "changed_by", "must_notice", "mutated"]

QUIET = ("-Wno-UNUSEDSIGNAL", "-Wno-UNUSEDPARAM")
"""The bench must notice a mutation, not the linter."""


def changed_by(patch: Path) -> str:
    """The file that a patch changes, relative to rtl/."""
    found = re.search(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)
    assert found, patch
    return found[1]


def mutated(patch: Path, rtl: Path) -> str:
    """Copy the library to `rtl`, apply a patch of one hunk; give the changed file."""
    shutil.copytree(RTL, rtl)
    changed = changed_by(patch)
    hunk = patch.read_text().split("@@", 2)[2].split("\n", 1)[1].splitlines(keepends=True)
    before = "".join(line[1:] for line in hunk if line[0] in " -")
    after = "".join(line[1:] for line in hunk if line[0] in " +")
    target = rtl / changed
    source = target.read_text()
    assert source.count(before) == 1, f"{patch.name} no longer applies to {changed}"
    target.write_text(source.replace(before, after))
    return changed


def must_notice(run: Callable[..., Any], bench: str, **environment: str) -> None:
    """Run a bench that must fail: a cocotb test does, or an assertion of the RTL stops it."""
    with pytest.raises((AssertionError, SystemExit, RuntimeError)):
        run(bench, environment=environment)
