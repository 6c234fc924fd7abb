// SPDX-License-Identifier: Apache-2.0
//
// plait_du_expander_dot: the expander in front of an INT8 dot product: exact integer sums of dual
// grained weights times INT8 activations over all inputs of an output.
// Latency:      4 cycles from the last codes of an output to its sum.
// Throughput:   1 beat of WeightsPerCycle products a cycle, also from output to output.
// Combinational paths from input to output: out_ready_i and the valids to the readies of the
//               other streams.
// Width:        K products of 8 by 8 bits need 15 + ceil(log2 K) bits; an assertion watches.

`include "plait_assert.svh"

module plait_du_expander_dot #(
  parameter int unsigned WeightsPerCycle = 16,
  parameter int unsigned AccumulatorBits = 32
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                            code_valid_i,
  output logic                            code_ready_o,
  input  logic [WeightsPerCycle-1:0][3:0] code_data_i,
  input  logic                            code_last_i,  // beat of its group

  input  logic        group_valid_i,
  output logic        group_ready_o,
  input  logic [15:0] group_data_i,  // {scale, unsigned; zero, two's complement}

  input  logic                            activation_valid_i,
  output logic                            activation_ready_o,
  input  logic [WeightsPerCycle-1:0][7:0] activation_data_i,  // two's complement
  input  logic                            activation_last_i,  // beat of its output

  output logic                              out_valid_o,
  input  logic                              out_ready_i,
  output logic signed [AccumulatorBits-1:0] out_data_o
);

  localparam int unsigned ProductBits = 16;

  logic                                            weight_valid, weight_ready, sum_ready;
  logic [WeightsPerCycle-1:0][7:0]                 weights;
  logic [WeightsPerCycle-1:0][ProductBits-1:0]     products;

  plait_du_expander #(
    .WeightsPerCycle(WeightsPerCycle)
  ) u_expander (
    .clk_i,
    .rst_ni,
    .code_valid_i,
    .code_ready_o,
    .code_data_i,
    .code_last_i,
    .group_valid_i,
    .group_ready_o,
    .group_data_i,
    .out_valid_o(weight_valid),
    .out_ready_i(weight_ready),
    .out_data_o (weights)
  );

  // A beat of weights meets its activations: both leave together.
  assign weight_ready       = sum_ready && activation_valid_i;
  assign activation_ready_o = sum_ready && weight_valid;

  for (genvar lane = 0; lane < WeightsPerCycle; lane++) begin : gen_lane
    logic signed [7:0] weight, activation;
    assign weight         = weights[lane];
    assign activation     = activation_data_i[lane];
    assign products[lane] = ProductBits'(weight) * ProductBits'(activation);
  end

  plait_du_sum #(
    .Inputs         (WeightsPerCycle),
    .Width          (ProductBits),
    .AccumulatorBits(AccumulatorBits)
  ) u_sum (
    .clk_i,
    .rst_ni,
    .in_valid_i (weight_valid && activation_valid_i),
    .in_ready_o (sum_ready),
    .in_data_i  (products),
    .in_last_i  (activation_last_i),
    .out_valid_o,
    .out_ready_i,
    .out_data_o
  );

endmodule
