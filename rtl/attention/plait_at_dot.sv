// SPDX-License-Identifier: Apache-2.0
//
// plait_at_dot: exact dot product of a query and a key, Lanes products a cycle.
// Latency:      2 cycles from the last step to the dot product.
// Throughput:   1 step of Lanes products a cycle, also from key to key.
// Combinational paths from input to output: none.
// Width:        Steps * Lanes products of two's complement numbers.

`include "plait_assert.svh"

module plait_at_dot #(
  parameter int unsigned Lanes = 16,
  parameter int unsigned Steps = 4,
  localparam int unsigned ProductBits = plait_at_pkg::QUERY_BITS + plait_at_pkg::VALUE_BITS,
  localparam int unsigned DotBits = ProductBits + $clog2(Lanes * Steps)
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                           valid_i,
  input  logic                                           first_i,  // step of its key
  input  logic                                           last_i,
  input  logic [Lanes-1:0][plait_at_pkg::QUERY_BITS-1:0] query_i,
  input  logic [Lanes-1:0][plait_at_pkg::VALUE_BITS-1:0] key_i,

  output logic                      dot_valid_o,  // a pulse
  output logic signed [DotBits-1:0] dot_o
);

  if (Lanes == 0 || Steps == 0) begin : gen_check
    $fatal(1, "plait_at_dot: Lanes and Steps must be at least 1");
  end

  localparam int unsigned StepBits = ProductBits + $clog2(Lanes);

  logic        [Lanes-1:0][ProductBits-1:0] products;
  logic signed [StepBits-1:0]               sum, sum_q;
  logic                                     valid_q, first_q, last_q;
  logic signed [DotBits-1:0]                dot_q;
  logic                                     dot_valid_q;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic signed [plait_at_pkg::QUERY_BITS-1:0] query;
    logic signed [plait_at_pkg::VALUE_BITS-1:0] key;
    assign query = query_i[lane];
    assign key = key_i[lane];
    assign products[lane] = ProductBits'(query) * ProductBits'(key);
  end

  plait_adder_tree #(
    .Inputs(Lanes),
    .Width (ProductBits)
  ) u_tree (
    .values_i(products),
    .sum_o   (sum)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q     <= 1'b0;
      dot_valid_q <= 1'b0;
    end else begin
      valid_q     <= valid_i;
      dot_valid_q <= valid_q && last_q;
    end
  end

  always_ff @(posedge clk_i) begin
    first_q <= first_i;
    last_q  <= last_i;
    sum_q   <= sum;
    if (valid_q) dot_q <= (first_q ? '0 : dot_q) + DotBits'(sum_q);
  end

  assign dot_valid_o = dot_valid_q;
  assign dot_o       = dot_q;

endmodule
