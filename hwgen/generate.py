"""Writes a machine as a folder: Verilog, a program in memory images, a Makefile, a manifest.

The same input gives the same bytes. The folder appears whole or not at all, and a folder that plait
did not write is never replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from plait.errors import PlaitError, SpecError, unknown_name
from plait.files import reason
from plait.hwgen.decode_units import Units, decode_units
from plait.hwgen.design import Design, render
from plait.hwgen.mem_file import mem_text
from plait.hwgen.native import HARNESS
from plait.sim.spec.base import Accelerator, Phase

__all__ = ["Manifest", "design_of", "generate"]

MANIFEST = "manifest.json"
_RECIPES = {
    "bit_serial": "plait.hwgen.bit_serial.recipe",
    "offload": "plait.hwgen.attention.recipe",
    "sparse_dsp": "plait.hwgen.sparse_dsp.recipe",
}
_MADE_BY_MAKE = ("build", "build-wave", "build-decode", "results.mem", "wave.vcd")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generated folder holds.

    Args:
        folder: where it was written.
        machine, family, phase: what it is.
        parameters: of the core, by their Verilog names.
        formats: weight formats, in the order of the descriptor's index.
        sources: Verilog files in compile order, relative to the folder.
        decode_units: parameters of the machine's decode units, by kind, by their Verilog names;
            each is a top of its own, its sources are in decode/sources.f.
        files: sha256 of every file but the manifest, by path relative to the folder.
    """

    folder: Path
    machine: str
    family: str
    phase: str
    parameters: Mapping[str, int]
    formats: tuple[str, ...]
    sources: tuple[str, ...]
    decode_units: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the folder's own path, as JSON knows it."""
        return {"generator": "plait", **{k: v for k, v in asdict(self).items() if k != "folder"}}

    def to_json(self) -> str:
        """The content of manifest.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def design_of(
    machine: Accelerator, phase: Phase = "decode", formats: Sequence[Any] | None = None
) -> Design:
    """Put the Verilog of a machine together, in memory.

    Raises:
        SpecError: the family has no Verilog, or none for this phase.

    >>> from plait.sim.spec import load_accelerator
    >>> design_of(load_accelerator("bitmod-small")).parameters["Rows"]
    8
    """
    recipe = _recipe(machine)
    _refuse_unknown(phase)
    if phase not in recipe.PHASES:
        raise SpecError(
            "there is no Verilog for this phase",
            where=f"{machine.name}: phase",
            got=phase,
            expected=" or ".join(recipe.PHASES),
        )
    design: Design = recipe.design(machine, phase, formats)
    return design


def generate(
    machine: Accelerator,
    out_dir: str | Path,
    *,
    phase: Phase = "decode",
    formats: Sequence[Any] | None = None,
    jobs: Sequence[Any] | None = None,
    units: Sequence[str] | None = None,
) -> Manifest:
    """Write a machine's Verilog and a program for it.

    Args:
        out_dir: the folder to write; it may exist if plait wrote it, or if it is empty.
        phase: the array's shape.
        formats: weight formats (names) its decoder knows.
        jobs: what the program computes; a small example unless given.
        units: decode units, by kind, to write these alone, without a core.
    """
    if units is not None:
        return _generate_units(machine, Path(out_dir), phase, units)
    recipe = _recipe(machine)
    design = design_of(machine, phase, formats)
    program = recipe.program(design, jobs)
    decoders = decode_units(machine)
    files = {
        **design.files,
        **decoders.files,
        "sources.f": _file_list(design),
        "harness.cpp": HARNESS.read_text(),
        "Makefile": _makefile(design, program, decoders),
        "program.mem": mem_text(program.blocks),
        "program.txt": program.listing,
        "expected.mem": mem_text({program.results_at: recipe.expected_image(design, program)}),
    }
    manifest = Manifest(
        folder=Path(out_dir),
        machine=machine.name,
        family=machine.family,
        phase=phase,
        parameters=dict(design.parameters),
        formats=design.formats,
        sources=design.sources,
        decode_units=decoders.parameters,
        files={name: _digest(files[name]) for name in sorted(files)},
    )
    files[MANIFEST] = manifest.to_json()
    _write_folder(Path(out_dir), files)
    return manifest


def _generate_units(
    machine: Accelerator, folder: Path, phase: Phase, kinds: Sequence[str]
) -> Manifest:
    """Write decode units alone: of machines, too, whose core has no Verilog."""
    _refuse_unknown(phase)
    units = decode_units(machine, kinds)
    makefile = render(
        "Makefile_units.j2", machine=machine.name, decode_units=list(units.parameters)
    )
    files = {**units.files, "Makefile": makefile}
    manifest = Manifest(
        folder=folder,
        machine=machine.name,
        family=machine.family,
        phase=phase,
        parameters={},
        formats=(),
        sources=units.sources,
        decode_units=units.parameters,
        files={name: _digest(files[name]) for name in sorted(files)},
    )
    files[MANIFEST] = manifest.to_json()
    _write_folder(folder, files)
    return manifest


def _refuse_unknown(phase: str) -> None:
    if phase not in get_args(Phase):
        raise SpecError(unknown_name("phase", phase, get_args(Phase)), where="phase")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _recipe(machine: Accelerator) -> Any:
    if machine.family not in _RECIPES:
        raise SpecError(
            "there is no Verilog for this family",
            where=machine.name,
            got=machine.family,
            expected=" or ".join(_RECIPES),
        )
    return import_module(_RECIPES[machine.family])


def _file_list(design: Design) -> str:
    """Arguments of Verilator, or of another simulator, in compile order."""
    lines = [*(f"+incdir+{name}" for name in design.include_folders), *design.sources]
    return "".join(f"{line}\n" for line in lines)


def _makefile(design: Design, program: Any, units: Units) -> str:
    return render(
        "Makefile.j2",
        machine=design.machine,
        results_at=program.results_at,
        results_words=program.results_words,
        limit=program.cycle_bound,
        decode_units=list(units.parameters),
    )


def _write_folder(target: Path, files: Mapping[str, str]) -> None:
    """Write into a temporary neighbour, then swap it in."""
    target = Path(os.path.abspath(target))
    _refuse_foreign(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as name:
            fresh = Path(name) / "new"
            for path, text in files.items():
                (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                (fresh / path).write_text(text)
            if target.exists():
                target.rename(Path(name) / "old")
            fresh.rename(target)
    except OSError as error:
        raise PlaitError(f"cannot be written: {reason(error)}", where=str(target)) from error


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace what plait did not write."""
    if not target.exists():
        return
    if not target.is_dir():
        raise PlaitError("is a file, expected a folder", where=str(target))
    found = {str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir()}
    try:
        manifest = json.loads((target / MANIFEST).read_text())
        ours = {MANIFEST, *manifest["files"]} if manifest["generator"] == "plait" else set()
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    foreign = sorted(p for p in found - ours if p.split(os.sep)[0] not in _MADE_BY_MAKE or not ours)
    if foreign:
        raise PlaitError(
            f"the folder holds files that plait did not write, such as {foreign[0]}",
            where=str(target),
            hint="choose another folder",
        )
