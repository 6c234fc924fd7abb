"""plait_skid and plait_fifo."""

import pytest
from harness import simulate

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("width", [1, 8, pytest.param(33, marks=pytest.mark.long)])
def test_skid(width, tmp_path):
    simulate(
        "plait_skid",
        "cocotb_stream",
        tmp_path,
        sources=["common/plait_skid.sv"],
        environment={"CAPACITY": "2"},
        Width=width,
    )


@pytest.mark.parametrize(
    ("width", "depth"), [(1, 1), (33, 5), pytest.param(8, 4, marks=pytest.mark.long)]
)
def test_fifo(width, depth, tmp_path):
    simulate(
        "plait_fifo",
        "cocotb_stream",
        tmp_path,
        sources=["common/plait_fifo.sv"],
        environment={"CAPACITY": str(depth)},
        Width=width,
        Depth=depth,
    )
