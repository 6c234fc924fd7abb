"""The contracts in rtl/README.md: every module has a row, and what it says is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plait.hwgen.verilog import LIBRARY, parameter_names

README = (LIBRARY / "README.md").read_text()
ROW = re.compile(r"^\| `(plait_\w+)` \|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
CONTRACTS = {name: cells for name, *cells in ROW.findall(README)}
FOLDERS = ("common", "bit_serial", "attention", "decode")
MODULES = {
    path.stem: path
    for folder in FOLDERS
    for path in sorted((LIBRARY / folder).glob("*.sv"))
    if not path.stem.endswith("_pkg")
}
ELSEWHERE = {"see below", "as parts, after 1"}


def header(path: Path, what: str) -> str:
    """A paragraph of the comment at the top, such as Latency."""
    comment = path.read_text().split("\nmodule ")[0]
    found = re.search(rf"^// {what}:(.*(?:\n//   .*)*)", comment, re.MULTILINE)
    assert found, f"{path.name} does not state its {what.lower()}"
    return found[1]


def test_every_module_has_a_row_and_every_row_a_module() -> None:
    assert sorted(CONTRACTS) == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_row_names_parameters_of_its_module(name: str) -> None:
    named = set(re.findall(r"`([A-Z]\w+)`", " ".join(CONTRACTS[name])))
    assert named <= set(parameter_names(MODULES[name].read_text()))


@pytest.mark.parametrize("name", MODULES)
def test_latency_and_throughput_are_those_of_the_header(name: str) -> None:
    """Every number and parameter of the row stands in the module's own words."""
    _, latency, throughput, _ = (cell.strip() for cell in CONTRACTS[name])
    for cell, what in ((latency, "Latency"), (throughput, "Throughput")):
        if cell not in ELSEWHERE:
            words = set(re.findall(r"\w+", header(MODULES[name], what)))
            missing = set(re.findall(r"`?([A-Z]\w+|\d+)`?", cell)) - words
            assert not missing, (what, missing)


@pytest.mark.parametrize("name", MODULES)
def test_the_handshake_is_that_of_the_ports(name: str) -> None:
    handshake = CONTRACTS[name][3]
    ports = set(re.findall(r"\w*_(?:valid|ready)_[io]\b", MODULES[name].read_text()))
    directions = {port.rsplit("_", 2)[1] + port[-2:] for port in ports}
    if re.search("stream.* in|streams", handshake):
        assert {"valid_i", "ready_o"} <= directions
    if re.search("stream.* out|streams|port", handshake):
        assert {"valid_o", "ready_i"} <= directions
    if handshake.strip() == "none":
        assert not ports
