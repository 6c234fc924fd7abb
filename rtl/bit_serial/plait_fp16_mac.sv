// SPDX-License-Identifier: Apache-2.0
//
// plait_fp16_mac: FP16 weights times FP16 activations, for comparison with plait_bs_pe.
// Latency:      3 cycles from operands to mantissa_o and exponent_o.
// Throughput:   Lanes products a cycle. (plait_bs_pe: Lanes terms, so Lanes / 2 weights of 4 bits.)
// Combinational paths from input to output: none.
// Equal function, the rule for all comparison PEs: the same alignment, adder and accumulator as
// plait_bs_pe without its INT8 mode; only the product differs. Products keep all their bits, so
// there are no guard bits. Infinities and NaN are kept out upstream.

module plait_fp16_mac #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned AccumulatorBits = 15,
  localparam int unsigned ExponentBits = 7  // 30 + 30 and the growth of the sum
) (
  input  logic                              clk_i,

  input  logic [Lanes-1:0][15:0]            weights_i,
  input  logic [Lanes-1:0][15:0]            activations_i,

  // Two cycles after their operands.
  input  logic                              accumulate_i,
  input  logic                              first_i,

  output logic signed [AccumulatorBits-1:0] mantissa_o,  // times 2^(exponent_o - 50)
  output logic [ExponentBits-1:0]           exponent_o
);

  logic [Lanes-1:0]                   weight_signs, activation_signs;
  logic [Lanes-1:0][4:0]              weight_exponents, activation_exponents;
  logic [Lanes-1:0][10:0]             weight_mantissas, activation_mantissas;
  logic [Lanes-1:0][21:0]             magnitudes;
  logic [Lanes-1:0][ExponentBits-1:0] exponents;

  plait_bs_activation #(
    .Lanes(Lanes)
  ) u_weight (
    .is_int8_i    (1'b0),
    .activations_i(weights_i),
    .signs_o      (weight_signs),
    .exponents_o  (weight_exponents),
    .mantissas_o  (weight_mantissas)
  );

  plait_bs_activation #(
    .Lanes(Lanes)
  ) u_activation (
    .is_int8_i    (1'b0),
    .activations_i(activations_i),
    .signs_o      (activation_signs),
    .exponents_o  (activation_exponents),
    .mantissas_o  (activation_mantissas)
  );

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    assign magnitudes[lane] = 22'(weight_mantissas[lane]) * 22'(activation_mantissas[lane]);
    assign exponents[lane] = ExponentBits'(weight_exponents[lane])
        + ExponentBits'(activation_exponents[lane]);
  end

  plait_bs_dot #(
    .Lanes          (Lanes),
    .MagnitudeBits  (22),
    .GuardBits      (0),
    .ExponentBits   (ExponentBits),
    .AccumulatorBits(AccumulatorBits),
    .IntegerBits    (0),
    .MaxShift       (0),
    .ShiftBits      (1)
  ) u_dot (
    .clk_i       (clk_i),
    .is_integer_i(1'b0),
    .signs_i     (weight_signs ^ activation_signs),
    .magnitudes_i(magnitudes),
    .exponents_i (exponents),
    .accumulate_i(accumulate_i),
    .first_i     (first_i),
    .shift_i     (1'b0),
    .mantissa_o  (mantissa_o),
    .exponent_o  (exponent_o)
  );

endmodule
