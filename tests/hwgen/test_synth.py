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


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="register has no parameter Depth"):
        synthesise({"register.sv": REGISTER}, ["register.sv"], "register", {"Depth": 3})


@pytest.mark.slow
def test_the_parts_of_an_array() -> None:
    parts = {part.name: part for part in plait.area("bitmod-small")}
    published = parts["PE as published: 15 bits, FP16"]
    assert parts["PE"].count == 32
    assert parts["PE"].logic_ge > published.logic_ge > 2000  # 24 bits and INT8 cost more
    assert parts["term decoder"].register_ge == 0


def test_machines_without_gates() -> None:
    with pytest.raises(SpecError, match="there is no Verilog for this family"):
        plait.area("h100")
