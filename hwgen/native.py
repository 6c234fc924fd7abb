"""The native simulation: Verilator builds the generated machine, a C++ harness feeds its memory.

A program is built once for each content (sources, harness, flags, tool versions) and kept in the
user's cache folder, so that the second run starts at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import ToolError
from plait.files import cache_folder, reason, write_atomically
from plait.hwgen import tools
from plait.hwgen.design import Design
from plait.hwgen.mem_file import mem_text, read_mem

__all__ = ["HARNESS", "Run", "build", "run"]

HARNESS = Path(__file__).resolve().parent / "native" / "harness.cpp"
_FLAGS = (
    "--cc", "--exe", "--build", "-O3", "--top-module", "plait_top", "--prefix", "Vplait_top",
    "-Wall", "--x-initial", "unique", "--x-assign", "fast",
    # one module without instances: a quarter more cycles a second for an array of many PEs
    "--flatten",
    # -O0 for what runs only once
    "-MAKEFLAGS", "OPT_FAST=-O3 OPT_GLOBAL=-O3 OPT_SLOW=-O0",
)  # fmt: skip
_HANG = 3


@dataclass(frozen=True, slots=True)
class Run:
    """What a simulation measured.

    Args:
        cycles: as the machine itself counts them, from start to done.
        counters: cycles by cause, by name; they add up to `cycles`.
        error_flags: the machine's error bits.
        words_read, words_written: transfers of the memory port.
        results: uint8 [words, port bytes] of the region asked for.
    """

    cycles: int
    counters: Mapping[str, int]
    error_flags: int
    words_read: int
    words_written: int
    results: NDArray[np.uint8]


def build(design: Design, *, trace: bool = False) -> Path:
    """Give the simulator of a design, built now or taken from the cache."""
    command = [tools.verilator_command(), *_FLAGS, *(["--trace-vcd"] if trace else [])]
    tools.require_compiler()
    program = _cached_path(design, command[1:])
    if not program.is_file():
        try:
            program.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=program.parent) as folder:
                _build_in(Path(folder), design, command, program)
        except OSError as error:
            raise ToolError(
                f"the build folder cannot be written: {reason(error)}",
                where=str(program.parent),
                hint="PLAIT_CACHE names another",
            ) from error
    return program


def run(
    program: Path,
    design: Design,
    memory: Mapping[int, NDArray[np.uint8]],
    *,
    results_at: int,
    results_words: int,
    cycle_limit: int,
    latency_cycles: int,
    descriptor: int = 0,
    stall: float = 0.0,
    seed: int = 0,
    trace: Path | None = None,
) -> Run:
    """Run a built simulator on a memory image until the machine says it is done.

    Args:
        memory: blocks of words, {address: uint8 [words, port bytes]}.
        cycle_limit: the run is a hang beyond it.
        latency_cycles: of the memory, from an accepted request to its first word.
        stall: probability that the memory refuses or delays, a cycle and channel.
        trace: file that gets the waveform (the program must be built with trace=True).
    """
    with (
        tempfile.TemporaryDirectory(prefix="plait-") as name,
        write_atomically(trace) if trace else nullcontext() as waveform,
    ):
        folder = Path(name)
        (folder / "image.mem").write_text(mem_text(memory))
        arguments = {
            "image": folder / "image.mem",
            "results": folder / "results.mem",
            "results-at": results_at,
            "results-words": results_words,
            "limit": cycle_limit,
            "descriptor": descriptor,
            "latency": latency_cycles,
            "stall": stall,
            "seed": seed,
            **({"trace": waveform} if waveform else {}),
        }
        words = [text for key, value in arguments.items() for text in (f"--{key}", str(value))]
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        if done.returncode not in (0, _HANG):
            raise ToolError(f"the simulation failed: {_last_line(done.stderr or done.stdout)}")
        report = json.loads(done.stdout.splitlines()[-1])
        counters = dict(zip(design.counters, report["counters"], strict=True))
        hangs = done.returncode == _HANG
        blocks = {} if hangs else read_mem(folder / "results.mem", design.port_bytes)
    if hangs:  # the waveform, which shows why, is in its place by now
        raise _hang(design, report["state"], counters, cycle_limit)
    return Run(
        cycles=report["cycles"],
        counters=counters,
        error_flags=report["error"],
        words_read=report["words_read"],
        words_written=report["words_written"],
        results=blocks[results_at],
    )


def _cached_path(design: Design, flags: Sequence[str]) -> Path:
    """Name a program by everything that decides what it does."""
    digest = hashlib.sha256(HARNESS.read_bytes())
    for name in sorted(design.files):
        digest.update(f"{name}\0{design.files[name]}\0".encode())
    digest.update("\0".join([*flags, tools.verilator_version()]).encode())
    return cache_folder() / "native" / f"plait_top-{digest.hexdigest()[:24]}"


def _build_in(folder: Path, design: Design, command: Sequence[str], program: Path) -> None:
    for name, text in design.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    includes = [f"+incdir+{name}" for name in design.include_folders]
    tools.run(
        [*command, *includes, *design.sources, str(HARNESS), "--Mdir", "build", "-j", _jobs()],
        folder=folder,
        environment=tools.verilator_environment(),
        log=program.with_suffix(".log"),
    )
    os.replace(folder / "build" / "Vplait_top", program)
    shutil.rmtree(folder / "build")


def _jobs() -> str:
    return str(os.cpu_count() or 1)


def _hang(design: Design, state: int, counters: Mapping[str, int], limit: int) -> ToolError:
    name = design.states[state] if state < len(design.states) else f"unknown state {state}"
    spent = ", ".join(f"{cause} {cycles}" for cause, cycles in counters.items() if cycles)
    return ToolError(
        f"the simulation did not finish within {limit} cycles: the sequencer is in {name}",
        hint=f"cycles by cause: {spent or 'none counted'}",
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
