// SPDX-License-Identifier: Apache-2.0
//
// plait_ant_pe: weights in ant4 (int4 in two's complement, or flint4 as sign and rank of the
// magnitude; a group says which) times FP16 activations, for comparison with plait_bs_pe.
// Latency:      3 cycles from operands to mantissa_o and exponent_o.
// Throughput:   Lanes products a cycle.
// Combinational paths from input to output: none.
// Equal function: see plait_fp16_mac. The weight decoder is inside.

module plait_ant_pe #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned AccumulatorBits = 15,
  localparam int unsigned ExponentBits = plait_bs_pkg::EXPONENT_BITS
) (
  input  logic                              clk_i,

  input  logic                              is_flint_i,
  input  logic [Lanes-1:0][3:0]             codes_i,
  input  logic [Lanes-1:0][15:0]            activations_i,

  // Two cycles after their operands.
  input  logic                              accumulate_i,
  input  logic                              first_i,

  output logic signed [AccumulatorBits-1:0] mantissa_o,  // times 2^(exponent_o - 25)
  output logic [ExponentBits-1:0]           exponent_o
);

  logic [Lanes-1:0]      signs;
  logic [Lanes-1:0][2:0] integers;
  logic [Lanes-1:0][2:0] exponents;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [3:0] code;
    logic [5:0] flint;  // integer and exponent
    assign code = codes_i[lane];
    always_comb begin
      unique case (code[2:0])
        3'd0: flint = {3'd0, 3'd0};
        3'd1: flint = {3'd1, 3'd0};
        3'd2: flint = {3'd1, 3'd1};
        3'd3: flint = {3'd3, 3'd0};
        3'd4: flint = {3'd1, 3'd2};
        3'd5: flint = {3'd3, 3'd1};
        3'd6: flint = {3'd1, 3'd3};
        default: flint = {3'd1, 3'd4};
      endcase
    end
    assign signs[lane] = code[3];
    assign integers[lane] = is_flint_i ? flint[5:3] : code[3] ? -code[2:0] : code[2:0];
    assign exponents[lane] = is_flint_i ? flint[2:0] : 3'd0;
  end

  plait_small_weight_pe #(
    .Lanes             (Lanes),
    .AccumulatorBits   (AccumulatorBits),
    .WeightExponentBits(3)
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
