"""The picture of two tiles: what the Verilog did, and the one the documentation shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.cli import main
from plait.errors import SpecError
from plait.waveform import two_tiles

SHOWN = Path(__file__).resolve().parents[2] / "docs/two-tiles.svg"


@pytest.mark.rtl
@pytest.mark.slow
def test_the_documentation_shows_what_the_verilog_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, trace = tmp_path / "two-tiles.svg", tmp_path / "wave.vcd"
    arguments = ["waveform", "bitmod-small", "-o", str(picture), "--trace", str(trace), "--json"]
    assert main(arguments) == 0
    cycles = json.loads(capsys.readouterr().out)["cycles"]
    # The table of rtl/README.md.
    assert {name: count for name, count in cycles.items() if count} == {
        "descriptor": 14,
        "activation_load": 27,
        "pipeline_fill": 3,
        "compute": 64,
        "dequantisation_tail": 15,
        "drain": 8,
    }
    assert picture.read_text() == SHOWN.read_text()
    assert "u_array" in trace.read_text()


def test_another_family_is_not_drawn() -> None:
    with pytest.raises(SpecError, match="a100-40g: only bit-serial machines are drawn"):
        two_tiles("a100-40g")


@pytest.mark.parametrize(
    "arguments", [[], ["--layer", "layers.0.mlp.up_proj", "--format", "int8", "--format", "int6"]]
)
def test_a_waveform_is_of_one_multiplication(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cosimulate", "bitmod-small", "--trace", "wave.vcd", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: --trace: a waveform is of one multiplication")
