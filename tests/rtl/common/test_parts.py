"""plait_ram_1r1w and plait_adder_tree."""

import pytest
from harness import simulate

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize(
    ("width", "depth"), [(1, 1), (33, 5), pytest.param(8, 16, marks=pytest.mark.long)]
)
def test_ram(width, depth, tmp_path):
    sources = ["common/plait_ram_1r1w.sv"]
    simulate("plait_ram_1r1w", "cocotb_ram", tmp_path, sources=sources, Width=width, Depth=depth)


@pytest.mark.parametrize(("inputs", "width"), [(1, 1), (4, 15), (5, 33)])
def test_adder_tree(inputs, width, tmp_path):
    sources = ["common/plait_adder_tree.sv"]
    parameters = {"Inputs": inputs, "Width": width}
    simulate(
        "plait_adder_tree", "cocotb_adder_tree", tmp_path, sources=sources, seeds=(1,), **parameters
    )
