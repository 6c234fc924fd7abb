"""Decode units of a machine as Verilog: parameters, files, refusals; the testbenches pass."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from plait.errors import SpecError
from plait.hwgen import tools
from plait.hwgen.decode_units import decode_units
from plait.hwgen.generate import generate
from plait.hwgen.verilog import LIBRARY
from plait.models.golden.decode_units import conflict_cycles
from plait.sim.spec import load_accelerator

SECTIONS = {
    "lookup_table": {"entries": 8, "weights_per_cycle": 4},
    "codebook": {"kibibytes": 1, "banks": 4, "vector_length": 6, "lookups_per_cycle": 3},
    "expander": {"weights_per_cycle": 4},
    "trit_tree": {"trees": 2, "inputs": 8, "accumulator_bits": 18},
}
PARAMETERS = {
    "lookup_table": {"Entries": 8, "ValueBits": 16, "WeightsPerCycle": 4},
    "codebook": {
        "Entries": 85, "VectorLength": 6, "ValueBits": 16, "Banks": 4, "LookupsPerCycle": 3,
    },
    "expander": {"WeightsPerCycle": 4},
    "trit_tree": {"Trees": 2, "Inputs": 8, "AccumulatorBits": 18},
}  # fmt: skip


def machine(**sections: dict[str, int]):
    changes = {f"decode_units.{kind}": section for kind, section in sections.items()}
    return load_accelerator("bitmod-small").with_(**changes)


def test_parameters_are_those_of_the_description() -> None:
    assert decode_units(machine(**SECTIONS)).parameters == PARAMETERS


def test_a_unit_is_a_top_with_the_parameters_of_the_machine() -> None:
    files = decode_units(machine(**SECTIONS)).files
    for kind, parameters in PARAMETERS.items():
        text = files[f"rtl/decode/plait_du_{kind}.sv"]
        for name, value in parameters.items():
            assert f"parameter int unsigned {name} = {value}" in text


def test_only_what_the_units_need_is_there(tmp_path: Path) -> None:
    manifest = generate(machine(expander=SECTIONS["expander"]), tmp_path / "out")
    assert manifest.decode_units == {"expander": {"WeightsPerCycle": 4}}
    sources = (tmp_path / "out" / "decode" / "sources.f").read_text().split()
    assert sources == ["+incdir+rtl/common", "rtl/decode/plait_du_expander.sv"]
    assert "check-decode" in (tmp_path / "out" / "Makefile").read_text()
    assert "rtl/decode/plait_du_expander.sv" not in manifest.sources  # the core has no such unit


def test_a_machine_without_units_is_as_before(tmp_path: Path) -> None:
    manifest = generate(machine(), tmp_path / "out")
    assert manifest.decode_units == {}
    assert not (tmp_path / "out" / "decode").exists()
    assert "decode" not in (tmp_path / "out" / "Makefile").read_text().replace("build-decode", "")


@pytest.mark.parametrize(
    ("name", "units", "parameters"),
    [
        ("matmul-free-fpga", ["trit_tree"], [{"Trees": 64, "Inputs": 64, "AccumulatorBits": 24}]),
        ("int8-decoder", ["expander"], [{"WeightsPerCycle": 64}]),
        (
            "fp16-decoder",
            ["lookup_table", "codebook"],
            [
                {"Entries": 16, "ValueBits": 16, "WeightsPerCycle": 64},
                {
                    "Entries": 8192, "VectorLength": 8, "ValueBits": 16, "Banks": 32,
                    "LookupsPerCycle": 16,
                },
            ],
        ),
    ],
)  # fmt: skip
def test_units_alone_of_machines_whose_core_has_no_verilog(
    tmp_path: Path, name: str, units: list[str], parameters: list[dict[str, int]]
) -> None:
    manifest = generate(load_accelerator(name), tmp_path / "out", units=units)
    assert manifest.decode_units == dict(zip(units, parameters, strict=True))
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert {*manifest.files, "manifest.json"} == names | {"Makefile"}
    assert set(manifest.sources) <= names
    again = generate(load_accelerator(name), tmp_path / "out", units=units)  # ours: replaced
    assert again.files == manifest.files


def test_a_unit_that_the_machine_lacks_is_refused(tmp_path: Path) -> None:
    message = "decode_units: the machine describes no such.*got 'codebook', expected expander"
    with pytest.raises(SpecError, match=message):
        generate(load_accelerator("int8-decoder"), tmp_path / "out", units=["codebook"])


def test_the_testbench_of_a_codebook_counts_conflicts() -> None:
    """The cycles in the text are those of the indices beside it, 7 bits each."""
    files = decode_units(machine(codebook=SECTIONS["codebook"])).files
    words = [int(word, 16) for word in files["decode/codebook_in.mem"].split()]
    lanes = np.array(
        [
            [(w >> 7 * lane & 127) if w >> (21 + lane) & 1 else -1 for lane in range(3)]
            for w in words
        ]
    )
    found = re.search(r"CYCLES = (\d+);", files["decode/codebook_tb.sv"])
    assert found
    assert int(found[1]) == conflict_cycles(lanes, 4).sum() + 3


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"outlier_path": {"values_per_cycle": 4}},
            r"decode_units.outlier_path: there is no Verilog of this decode unit",
        ),
        (
            {"lookup_table": {"entries": 512, "weights_per_cycle": 4}},
            r"lookup_table.entries: a table of registers.*got 512, expected at most 256",
        ),
        (
            {"codebook": SECTIONS["codebook"] | {"banks": 128}},
            r"codebook.kibibytes: the memory holds fewer.*got 1, expected room for 128 vectors",
        ),
    ],
)
def test_units_without_verilog(tmp_path: Path, sections, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        generate(machine(**sections), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_every_unit_of_the_list_has_no_other_waiver() -> None:
    assert "plait_du" not in (LIBRARY / "lint" / "waivers.vlt").read_text()


@pytest.mark.rtl
@pytest.mark.long
def test_the_testbenches_pass(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    generate(machine(**SECTIONS), folder)
    result = subprocess.run(
        ["make", "-s", "-C", str(folder), f"VERILATOR={tools.verilator_command()}", "check-decode"],
        env=tools.verilator_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for kind in SECTIONS:
        assert f"{kind}: " in result.stdout
