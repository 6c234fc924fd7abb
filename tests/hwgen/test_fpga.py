"""Designs on an FPGA: parts that can be counted by hand, refusals, a module placed and routed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from plait.cli import main
from plait.errors import SpecError, ToolError
from plait.hwgen.design import Design
from plait.hwgen.fpga import Module, _mapped, map_design, route

COUNTED = """
module counted #(
  parameter int unsigned Width = 4
) (
  input  logic                    clk_i,
  input  logic                    write_i,
  input  logic [9:0]              address_i,
  input  logic [31:0]             data_i,
  input  logic signed [Width-1:0] left_i,
  input  logic signed [Width-1:0] right_i,
  output logic [31:0]             data_o,
  output logic [2*Width-1:0]      product_o
);
  logic [31:0] words_q [1024];
  logic signed [Width-1:0] left_q;
  always_ff @(posedge clk_i) begin
    if (write_i) words_q[address_i] <= data_i;
    data_o    <= words_q[address_i];
    left_q    <= left_i;
    product_o <= (2*Width)'(left_q) * (2*Width)'(right_i);
  end
endmodule
"""
DESIGN = Design(
    machine="by hand", family="none", phase="decode", parameters={"Width": 8}, formats=(),
    files={"counted.sv": COUNTED}, sources=("counted.sv",), include_folders=(), states=(),
    counters=(), errors=(),
)  # fmt: skip


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.parametrize(("device", "block_rams"), [("xcup", 1.0), ("ecp5", 2.0)])
def test_counted_by_hand(device: str, block_rams: float) -> None:
    """8 x 8 bits are one DSP block, 32 kbit one block RAM of 36 kbit or two of 18."""
    total = map_design(DESIGN, device, "counted").total
    assert (total.dsps, total.flip_flops, total.block_rams) == (1, 24, block_rams)


@pytest.mark.rtl
@pytest.mark.long
def test_an_instantiated_primitive() -> None:
    text = COUNTED.replace(") (", ") (\n  output logic [47:0] spare_o,")
    text = text.replace("endmodule", "  DSP48E2 u_dsp (.CLK(clk_i), .P(spare_o));\nendmodule")
    total = map_design(replace(DESIGN, files={"counted.sv": text}), "xcup", "counted").total
    assert total.dsps == 2


@pytest.mark.rtl
@pytest.mark.slow
def test_placed_and_routed() -> None:
    found = route(DESIGN, module="counted")
    assert 50e6 < found.clock_hz < 1e9
    assert found.used["MULT18X18D"][0] == found.mapped.total.dsps == 1
    assert found.used["DP16KD"] == (2, 208)  # an LFE5U-85F has 208


def test_copies_of_copies() -> None:
    """Two of a pair of leaves each, one of them with other parameters."""
    statistics = {
        "\\top": {"num_cells_by_type": {"LUT2": 3, "$paramod$01\\pair": 1, "pair": 1}},
        "$paramod$01\\pair": {"num_cells_by_type": {"leaf": 2, "RAMB18E2": 1}},
        "\\pair": {"num_cells_by_type": {"leaf": 2, "INV": 7}},
        "\\leaf": {"num_cells_by_type": {"LUT6": 5, "FDRE": 2, "DSP48E2": 1}},
    }
    found = _mapped("xcup", "top", statistics)
    assert found.modules == (
        Module("leaf", 4, 4, 20, 8, 0.0),
        Module("top", 1, 0, 3, 0, 0.0),
        Module("pair", 2, 0, 0, 0, 0.5),
    )
    assert found.total == Module("top", 1, 4, 23, 8, 0.5)
    statistics["\\leaf"]["num_cells_by_type"]["$mul"] = 1
    with pytest.raises(ToolError, match=r"does not have: .mul"):
        _mapped("xcup", "top", statistics)


def test_refusals() -> None:
    with pytest.raises(SpecError, match=r"unknown device .xc7.*xcup"):
        map_design(DESIGN, "xc7", "counted")
    with pytest.raises(SpecError, match=r"module.*count.*counted"):
        map_design(DESIGN, "xcup", "count")
    with pytest.raises(SpecError, match="no open place and route"):
        route(DESIGN, "xcup", "counted")


@pytest.mark.rtl
@pytest.mark.slow
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["area", "flightllm-small", "--device", "ecp5", "--module", "plait_sd_store", "--json"]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["name"] == "plait_sd_store"
    assert found["total"]["flip_flops"] >= 2 * (256 + 32)  # both halves of the skid at the port
