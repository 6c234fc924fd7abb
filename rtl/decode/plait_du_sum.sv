// SPDX-License-Identifier: Apache-2.0
//
// plait_du_sum: exact sum of the values of a stream of beats, one result at every last beat.
// Latency:      2 cycles from the last beat to its sum.
// Throughput:   1 beat of Inputs values a cycle, also from sum to sum.
// Combinational paths from input to output: out_ready_i to in_ready_o.
// Width:        the caller chooses AccumulatorBits so that no sum wraps; an assertion watches.

`include "plait_assert.svh"

module plait_du_sum #(
  parameter int unsigned Inputs = 16,
  parameter int unsigned Width = 9,
  parameter int unsigned AccumulatorBits = 24
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                         in_valid_i,
  output logic                         in_ready_o,
  input  logic [Inputs-1:0][Width-1:0] in_data_i,  // two's complement
  input  logic                         in_last_i,

  output logic                              out_valid_o,
  input  logic                              out_ready_i,
  output logic signed [AccumulatorBits-1:0] out_data_o
);

  localparam int unsigned StepBits = Width + $clog2(Inputs);

  if (Inputs == 0 || AccumulatorBits == 0) begin : gen_check
    $fatal(1, "plait_du_sum: Inputs and AccumulatorBits must be at least 1");
  end

  logic signed [StepBits-1:0]        sum, sum_q;
  logic                              step_valid_q, step_last_q;
  logic signed [AccumulatorBits-1:0] total_d, total_q, result_q;
  logic                              out_valid_q;
  logic                              advance;  // nothing moves while a result waits

  assign advance    = !out_valid_q || out_ready_i;
  assign in_ready_o = advance;
  assign total_d    = total_q + AccumulatorBits'(sum_q);

  plait_adder_tree #(
    .Inputs(Inputs),
    .Width (Width)
  ) u_tree (
    .values_i(in_data_i),
    .sum_o   (sum)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      step_valid_q <= 1'b0;
      out_valid_q  <= 1'b0;
      total_q      <= '0;
    end else if (advance) begin
      step_valid_q <= in_valid_i;
      out_valid_q  <= step_valid_q && step_last_q;
      if (step_valid_q) total_q <= step_last_q ? '0 : total_d;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      sum_q       <= sum;
      step_last_q <= in_last_i;
      if (step_valid_q) result_q <= total_d;
    end
  end

  assign out_valid_o = out_valid_q;
  assign out_data_o  = result_q;

`ifndef SYNTHESIS
  longint shadow;
  assign shadow = 64'(total_q) + 64'(sum_q);
  `PLAIT_ASSERT(a_no_wrap, !(step_valid_q) || shadow == 64'(total_d))
`endif
  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
