// SPDX-License-Identifier: Apache-2.0
//
// plait_olive_pe: weights in olive4 times FP16 activations, for comparison with plait_bs_pe. A code
// is read by its neighbour: beside the victim's 1000 it is an outlier.
// Latency:      3 cycles from operands to mantissa_o and exponent_o.
// Throughput:   Lanes products a cycle.
// Combinational paths from input to output: none.
// Equal function: see plait_fp16_mac. The weight decoder is inside.

module plait_olive_pe #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned AccumulatorBits = 15,
  localparam int unsigned ExponentBits = plait_bs_pkg::EXPONENT_BITS
) (
  input  logic                              clk_i,

  input  logic [Lanes-1:0][3:0]             codes_i,
  input  logic [Lanes-1:0][3:0]             neighbours_i,  // codes of the other half of each pair
  input  logic [Lanes-1:0][15:0]            activations_i,

  // Two cycles after their operands.
  input  logic                              accumulate_i,
  input  logic                              first_i,

  output logic signed [AccumulatorBits-1:0] mantissa_o,  // times 2^(exponent_o - 25)
  output logic [ExponentBits-1:0]           exponent_o
);

  localparam logic [3:0] Victim = 4'b1000;

  logic [Lanes-1:0]      signs;
  logic [Lanes-1:0][2:0] integers;
  logic [Lanes-1:0][3:0] exponents;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [3:0] code;
    logic       is_outlier;
    assign code = codes_i[lane];
    assign is_outlier = neighbours_i[lane] == Victim;
    assign signs[lane] = code[3];
    // Outlier: (2 + mantissa) * 2^(4 + exponent); normal value: int4 times 4, the victim 0.
    assign integers[lane] = is_outlier ? {2'b01, code[0]} : code[3] ? -code[2:0] : code[2:0];
    assign exponents[lane] = is_outlier ? 4'd4 + 4'(code[2:1]) : 4'd2;
  end

  plait_small_weight_pe #(
    .Lanes             (Lanes),
    .AccumulatorBits   (AccumulatorBits),
    .WeightExponentBits(4)
  ) u_pe (
    .clk_i             (clk_i),
    .weight_signs_i    (signs),
    .weight_integers_i (integers),
    .weight_exponents_i(exponents),
    .activations_i     (activations_i),
    .accumulate_i      (accumulate_i),
    .first_i           (first_i),
    .mantissa_o        (mantissa_o),
    .exponent_o        (exponent_o)
  );

endmodule
