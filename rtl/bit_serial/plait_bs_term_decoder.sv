// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_term_decoder: one term of each weight of a row, from the table in plait_bs_pkg.
// Latency:      0 cycles, combinational from every input to term_*_o; the row registers.
// Throughput:   Lanes terms a cycle.
// A new format is a new table: this module does not change.

module plait_bs_term_decoder #(
  parameter int unsigned Lanes = 4
) (
  input  logic [plait_bs_pkg::FORMAT_BITS-1:0]                   format_i,
  input  logic [plait_bs_pkg::SELECTOR_BITS-1:0]                 selector_i,  // the group's grid
  input  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0]               term_index_i,
  input  logic [Lanes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0]      codes_i,

  output logic [Lanes-1:0]                                       term_sign_o,
  output logic [Lanes-1:0]                                       term_man_o,
  output logic [Lanes-1:0][plait_bs_pkg::TERM_EXPONENT_BITS-1:0] term_exponent_o
);

  if (Lanes == 0) begin : gen_check_lanes
    $fatal(1, "plait_bs_term_decoder: Lanes must be at least 1");
  end

  localparam int unsigned TermBits = plait_bs_pkg::TERM_BITS;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [plait_bs_pkg::TABLE_ADDRESS_BITS-1:0] address;
    plait_bs_pkg::term_t                         term;

    assign address = plait_bs_pkg::term_address(
        format_i, selector_i, term_index_i, codes_i[lane]);
    assign term = plait_bs_pkg::TERM_TABLE[address*TermBits +: TermBits];
    assign term_sign_o[lane] = term.sign;
    assign term_man_o[lane] = term.man;
    assign term_exponent_o[lane] = term.exponent;
  end

endmodule
