"""The table of measured errors: what is claimed holds, and a stale table is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import plait
from plait.cli import main
from plait.errors import SpecError
from plait.measured import Error, errors, families, is_current, write
from plait.measured_serving import measure as serving_errors

MEASURED = [Error("cycles", "the authors'", 60, 0.0), Error("time", "GenZ", 8, 0.00099)]
README = Path(__file__).resolve().parents[2] / "README.md"
BOUNDS = {"roofline": 0.001, "systolic": 0.0}


@pytest.mark.parametrize("family", BOUNDS)
def test_families_without_verilog(family: str) -> None:
    frame = plait.agreement(family)
    assert len(frame) > 0
    assert (frame["largest"] <= BOUNDS[family]).all()


@pytest.mark.slow
def test_offload() -> None:
    """Our own views agree; what the paper claims is reproduced in part, and said as it is."""
    measured = {error.what: error.largest for error in errors("offload")}
    exact = [what for what, largest in measured.items() if largest == 0]
    served = [error for error in serving_errors() if error.largest == 0]
    assert len(served) == 6
    ours = [what.split()[0] for what in exact if what not in {error.what for error in served}]
    assert ours == ["time", "partial", "cycles"]
    assert measured["times and bandwidth of `offload`, `published`"] < 5e-6
    reproduced = [
        largest for what, largest in measured.items() if "mean batch" in what or "saved" in what
    ]
    assert len(reproduced) == 3
    assert max(reproduced) < 0.15


@pytest.mark.rtl
@pytest.mark.slow
def test_bit_serial() -> None:
    measured = list(errors("bit_serial"))
    exact = [e for e in measured if e.largest == 0]
    assert len(exact) >= 8  # cycles and values, bit for bit
    (by_chance,) = (e for e in measured if "how often alone" in e.against)
    assert by_chance.cases >= 50
    assert by_chance.largest < 0.02
    # Our machine has what the published equations leave out.
    (published,) = (e for e in measured if e.against == "equations of `published`")
    assert published.largest < 0.1
    ours = [e for e in measured if "`closed_form`" in e.what]
    assert max(e.largest for e in ours) < 0.2
    others = {e for e in measured if e not in (by_chance, published, *ours)}
    assert max(e.largest for e in others) < 0.005


def test_an_unknown_family() -> None:
    with pytest.raises(SpecError, match="bit_serial"):
        list(errors("bit_seriel"))
    assert "bit_serial" in families()


def test_writing_and_noticing(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    assert not is_current(file, MEASURED)
    write(file, MEASURED)
    assert is_current(file, MEASURED)
    assert "| time | GenZ | 8 | 0.099 % |" in file.read_text(encoding="utf-8")
    before, after = (README.read_text(encoding="utf-8").split("<!-- end")[1], file.read_text())
    assert after.endswith(before)


def test_a_file_without_markers(tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("nothing\n")
    with pytest.raises(SpecError, match=r"notes\.md: no place for the table"):
        write(file, MEASURED)
    assert file.read_text() == "nothing\n"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agreement", "systolic", "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["largest"] == 0
    file = tmp_path / "README.md"
    file.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["agreement", "systolic", "--check", str(file)]) == 1
    assert "stale" in capsys.readouterr().err
    assert main(["agreement", "systolic", "--write", str(file)]) == 0
    assert main(["agreement", "systolic", "--check", str(file)]) == 0
