"""The modules around the DSP chains, each alone."""

import pytest
from harness import RTL, simulate, sources_of

from plait.hwgen.sparse_dsp.tables import tables_package

pytestmark = pytest.mark.rtl
LONG = pytest.mark.long


def run(top: str, folder, **parameters: int) -> None:
    sources = sources_of(top, "sparse_dsp.f")
    bench = top.replace("plait_sd_", "cocotb_sd_")
    simulate(top, bench, folder, sources=sources, **parameters)


def test_the_committed_tables_are_those_of_the_golden_model():
    assert (RTL / "sparse_dsp" / "plait_sd_tables_pkg.sv").read_text() == tables_package()


def test_special(tmp_path):
    run("plait_sd_special", tmp_path)


@pytest.mark.parametrize("depth", [8, 1, pytest.param(3, marks=LONG)])
def test_scheduler(depth, tmp_path):
    run("plait_sd_scheduler", tmp_path, QueueDepth=depth)


@pytest.mark.parametrize("port_bits", [256, 16, pytest.param(64, marks=LONG)])
def test_store(port_bits, tmp_path):
    run("plait_sd_store", tmp_path, PortBits=port_bits)


@pytest.mark.parametrize(
    ("port_bits", "flight"), [(256, 32), (32, 1), pytest.param(16, 3, marks=LONG)]
)
def test_load(port_bits, flight, tmp_path):
    run("plait_sd_load", tmp_path, PortBits=port_bits, RowsInFlight=flight)


@pytest.mark.parametrize("rows", [4, pytest.param(1, marks=LONG)])
def test_multiply(rows, tmp_path):
    run("plait_sd_multiply", tmp_path, Rows=rows)


@pytest.mark.parametrize(("port_bits", "longest"), [(256, 1024), pytest.param(128, 33, marks=LONG)])
def test_fetch(port_bits, longest, tmp_path):
    run("plait_sd_fetch", tmp_path, PortBits=port_bits, BufferWords=longest)


@pytest.mark.parametrize("width", [50, *(pytest.param(width, marks=LONG) for width in (32, 64))])
def test_reciprocal(width, tmp_path):
    run("plait_sd_reciprocal", tmp_path, Width=width)
