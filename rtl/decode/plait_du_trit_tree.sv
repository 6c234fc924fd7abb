// SPDX-License-Identifier: Apache-2.0
//
// plait_du_trit_tree: dot products of ternary weights and INT8 activations without a multiplier:
// each lane adds its activation, subtracts it, or skips it. Trees outputs share the activations.
// Latency:      2 cycles from the last beat of the outputs to their sums.
// Throughput:   1 beat of Inputs weights of each tree a cycle, also from outputs to outputs.
// Combinational paths from input to output: out_ready_i to in_ready_o.
// Width:        K activations of -127 to 127 need 8 + ceil(log2 K) bits; an assertion watches.

`include "plait_assert.svh"

module plait_du_trit_tree #(
  parameter int unsigned Trees = 1,
  parameter int unsigned Inputs = 64,
  parameter int unsigned AccumulatorBits = 20
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                              in_valid_i,
  output logic                              in_ready_o,
  input  logic [Trees-1:0][Inputs-1:0][1:0] in_trits_i,  // 00 is 0, 01 is +1, 11 is -1
  input  logic [Inputs-1:0][7:0]            in_activations_i,  // two's complement, not -128
  input  logic                              in_last_i,  // beat of these outputs

  output logic                                  out_valid_o,
  input  logic                                  out_ready_i,
  output logic [Trees-1:0][AccumulatorBits-1:0] out_data_o  // two's complement
);

  if (Trees == 0) begin : gen_check
    $fatal(1, "plait_du_trit_tree: Trees must be at least 1");
  end

  localparam int unsigned TermBits = 8;

  logic [Trees-1:0] ready, valid;  // all alike: the trees move together

  assign in_ready_o  = ready[0];
  assign out_valid_o = valid[0];

  for (genvar tree = 0; tree < Trees; tree++) begin : gen_tree
    logic [Inputs-1:0][TermBits-1:0] terms;

    for (genvar lane = 0; lane < Inputs; lane++) begin : gen_lane
      logic        [1:0]          trit;
      logic signed [TermBits-1:0] activation;
      assign trit        = in_trits_i[tree][lane];
      assign activation  = in_activations_i[lane];
      assign terms[lane] = !trit[0] ? '0 : trit[1] ? -activation : activation;
    end

    plait_du_sum #(
      .Inputs         (Inputs),
      .Width          (TermBits),
      .AccumulatorBits(AccumulatorBits)
    ) u_sum (
      .clk_i,
      .rst_ni,
      .in_valid_i,
      .in_ready_o (ready[tree]),
      .in_data_i  (terms),
      .in_last_i,
      .out_valid_o(valid[tree]),
      .out_ready_i,
      .out_data_o (out_data_o[tree])
    );
  end

`ifndef SYNTHESIS
  logic [Trees-1:0][Inputs-1:0] is_unused;
  logic [Inputs-1:0]            is_beyond;
  for (genvar lane = 0; lane < Inputs; lane++) begin : gen_lanes
    assign is_beyond[lane] = in_activations_i[lane] == 8'h80;
    for (genvar tree = 0; tree < Trees; tree++) begin : gen_trits
      assign is_unused[tree][lane] = in_trits_i[tree][lane] == 2'b10;
    end
  end
  `PLAIT_ASSERT(a_operands, !in_valid_i || (is_beyond == '0 && is_unused == '0))
  `PLAIT_ASSERT(a_together, ready == {Trees{ready[0]}} && valid == {Trees{valid[0]}})
`else
  logic unused_handshakes;
  assign unused_handshakes = ^{ready, valid};
`endif

endmodule
