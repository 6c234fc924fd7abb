// SPDX-License-Identifier: Apache-2.0
//
// plait_small_weight_pe: weights of the form (-1)^sign * integer * 2^exponent with an integer of
// 3 bits, times FP16 activations: what plait_ant_pe and plait_olive_pe share.
// Latency:      3 cycles from operands to mantissa_o and exponent_o.
// Throughput:   Lanes products a cycle.
// Combinational paths from input to output: none.
// Equal function: see plait_fp16_mac.

module plait_small_weight_pe #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned WeightExponentBits = 3,
  localparam int unsigned ExponentBits = plait_bs_pkg::EXPONENT_BITS
) (
  input  logic                                     clk_i,

  input  logic [Lanes-1:0]                         weight_signs_i,
  input  logic [Lanes-1:0][2:0]                    weight_integers_i,
  input  logic [Lanes-1:0][WeightExponentBits-1:0] weight_exponents_i,
  input  logic [Lanes-1:0][15:0]                   activations_i,

  // Two cycles after their operands.
  input  logic                                     accumulate_i,
  input  logic                                     first_i,

  output logic signed [AccumulatorBits-1:0]        mantissa_o,  // times 2^(exponent_o - 25)
  output logic [ExponentBits-1:0]                  exponent_o
);

  logic [Lanes-1:0]                   signs;
  logic [Lanes-1:0][4:0]              activation_exponents;
  logic [Lanes-1:0][10:0]             mantissas;
  logic [Lanes-1:0][13:0]             magnitudes;
  logic [Lanes-1:0][ExponentBits-1:0] exponents;

  plait_bs_activation #(
    .Lanes(Lanes)
  ) u_activation (
    .is_int8_i    (1'b0),
    .activations_i(activations_i),
    .signs_o      (signs),
    .exponents_o  (activation_exponents),
    .mantissas_o  (mantissas)
  );

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    assign magnitudes[lane] = 14'(weight_integers_i[lane]) * 14'(mantissas[lane]);
    assign exponents[lane] = ExponentBits'(activation_exponents[lane])
        + ExponentBits'(weight_exponents_i[lane]);
  end

  plait_bs_dot #(
    .Lanes          (Lanes),
    .MagnitudeBits  (14),
    .GuardBits      (0),
    .ExponentBits   (ExponentBits),
    .AccumulatorBits(AccumulatorBits),
    .IntegerBits    (0),
    .MaxShift       (0),
    .ShiftBits      (1)
  ) u_dot (
    .clk_i       (clk_i),
    .is_integer_i(1'b0),
    .signs_i     (weight_signs_i ^ signs),
    .magnitudes_i(magnitudes),
    .exponents_i (exponents),
    .accumulate_i(accumulate_i),
    .first_i     (first_i),
    .shift_i     (1'b0),
    .mantissa_o  (mantissa_o),
    .exponent_o  (exponent_o)
  );

endmodule
