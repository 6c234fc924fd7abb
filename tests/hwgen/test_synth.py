"""Gate equivalents by yosys: a part that can be counted by hand, and the array's parts."""

from __future__ import annotations

import pytest

import plait
from plait.errors import SpecError, ToolError
from plait.hwgen.synth import CELLS, FLIP_FLOP, Synthesis, synthesise

pytestmark = pytest.mark.rtl

REGISTER = """
module register #(
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic [Width-1:0] left_i,
  input  logic [Width-1:0] right_i,
  output logic [Width-1:0] both_o
);
  always_ff @(posedge clk_i) both_o <= ~(left_i & right_i);
endmodule
"""


def test_a_part_counted_by_hand() -> None:
    result = synthesise({"register.sv": REGISTER}, ["register.sv"], "register", {"Width": 3})
    assert result == Synthesis(logic=3 * CELLS["NAND2"][0], registers=round(3 * FLIP_FLOP, 2))


CONSTANT = """
module constant (
  input  logic left_i,
  output logic left_o,
  output logic never_o
);
  assign left_o = !left_i;
  assign never_o = 1'b0;
endmodule
"""


def test_a_constant_output_costs_nothing() -> None:
    result = synthesise({"constant.sv": CONSTANT}, ["constant.sv"], "constant", {})
    assert result == Synthesis(logic=CELLS["INV"][0], registers=0)


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="register has no parameter Depth"):
        synthesise({"register.sv": REGISTER}, ["register.sv"], "register", {"Depth": 3})


@pytest.mark.slow
def test_the_parts_of_an_array() -> None:
    parts = {part.name: part for part in plait.area("bitmod-small")}
    pe, bitmod = parts["PE"], parts["BitMoD PE, 4 lanes"]
    assert (pe.count, bitmod.count) == (32, 0)
    assert pe.logic_ge > bitmod.logic_ge > 2000  # 24 bits and INT8 cost more
    assert parts["term decoder"].register_ge == 0
    compared = {part.name: part for part in parts.values() if part.published_um2}
    assert compared["FP16 multiply-add"].over_fp16 == 1
    assert compared["ANT PE"].over_fp16 < compared["BitMoD PE, 4 lanes"].over_fp16
    # Another FP16 multiply-add (ours neither normalises to the left nor rounds), no layout: the
    # ratios to it are up to a quarter of the published ones away.
    for part in compared.values():
        assert part.over_fp16 == pytest.approx(part.published_over_fp16, rel=0.27), part.name


def test_machines_without_gates() -> None:
    with pytest.raises(SpecError, match="there is no Verilog for this family"):
        plait.area("h100")
