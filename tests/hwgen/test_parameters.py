"""What the generator refuses is what the Verilog refuses: the bounds are the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plait.hwgen import tools
from plait.hwgen.generate import design_of
from plait.sim.spec import load_accelerator

# The least that is accepted of each bounded parameter, with one column to elaborate fast.
SMALLEST = load_accelerator("bitmod-small").with_(
    **{
        "array.decode.rows": 20,
        "array.decode.columns": 1,
        "pe.guard_bits": 3,
        "pe.accumulator_bits": 11,
        "buffers.weight_bytes": 10 * 20 * 4,
        "buffers.activation_bytes": 64,
        "buffers.scale_bytes": 4 * 20 * 2,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("smallest")
    for name, text in design_of(SMALLEST).files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    return target


def lint(folder: Path, top: str) -> subprocess.CompletedProcess[str]:
    (folder / "plait_top.sv").write_text(top)
    options = ("--lint-only", "-Wall", "+incdir+rtl/common", "--top-module", "plait_top")
    return subprocess.run(
        [tools.verilator_command(), *options, *design_of(SMALLEST).sources],
        cwd=folder,
        env=tools.verilator_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.rtl
def test_the_smallest_machine_elaborates(folder: Path) -> None:
    done = lint(folder, design_of(SMALLEST).files["plait_top.sv"])
    assert done.returncode == 0, done.stderr


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("name", "least"),
    [("WeightBufferSteps", 10), ("ScaleBufferGroups", 4), ("AccumulatorBits", 11)],
)
def test_a_smaller_one_does_not(folder: Path, name: str, least: int) -> None:
    top = design_of(SMALLEST).files["plait_top.sv"]
    smaller = top.replace(f".{name}({least})", f".{name}({least - 1})")
    assert smaller != top
    done = lint(folder, smaller)
    assert done.returncode != 0
    assert f"{name} " in done.stderr
