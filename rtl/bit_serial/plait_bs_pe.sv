// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_pe: bit-serial dot product; one term of each of Lanes weights a cycle, times Lanes
// activations (FP16 split into sign, exponent, mantissa; INT8 as plait_bs_activation gives them).
// Latency:      3 cycles from operands to mantissa_o and exponent_o.
// Throughput:   1 term of each lane a cycle.
// Combinational paths from input to output: none.
// Integer:      0 removes the INT8 mode (is_int8_i is then not looked at).

module plait_bs_pe #(
  parameter int unsigned Lanes = 4,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned GuardBits = 3,
  parameter bit          Integer = 1'b1,
  localparam int unsigned IntegerBits = Integer ? plait_bs_pkg::INTEGER_ACCUMULATOR_BITS : 0,
  localparam int unsigned AccumulatorWidth =
      AccumulatorBits > IntegerBits ? AccumulatorBits : IntegerBits
) (
  input  logic                                                    clk_i,
  input  logic                                                    is_int8_i,

  input  logic [Lanes-1:0]                                        term_signs_i,
  input  logic [Lanes-1:0]                                        term_mans_i,
  input  logic [Lanes-1:0][plait_bs_pkg::TERM_EXPONENT_BITS-1:0]  term_exponents_i,
  input  logic [Lanes-1:0]                                        activation_signs_i,
  input  logic [Lanes-1:0][plait_bs_pkg::FP16_EXPONENT_BITS-1:0]  activation_exponents_i,
  input  logic [Lanes-1:0][plait_bs_pkg::FP16_MANTISSA_BITS-1:0]  activation_mantissas_i,

  // Two cycles after their operands.
  input  logic                                                    accumulate_i,
  input  logic                                                    first_i,  // of a group
  input  logic [plait_bs_pkg::SHIFT_BITS-1:0]                     term_shift_i,

  output logic signed [AccumulatorWidth-1:0]                      mantissa_o,
  output logic [plait_bs_pkg::EXPONENT_BITS-1:0]                  exponent_o
);

  // An integer of 8 bits times the largest term must fit the field that alignment shifts in.
  if (Integer && plait_bs_pkg::MAX_TERM_EXPONENT + 8 >
      plait_bs_pkg::FP16_MANTISSA_BITS + GuardBits) begin : gen_check_guard
    $fatal(1, "plait_bs_pe: GuardBits too few for INT8 activations with these formats");
  end
  // Exponents stay within EXPONENT_BITS while the mantissa takes its part of the growth.
  if (AccumulatorBits < GuardBits + 8) begin : gen_check_accumulator
    $fatal(1, "plait_bs_pe: AccumulatorBits must be at least GuardBits + 8");
  end

  logic [Lanes-1:0]                                       signs;
  logic [Lanes-1:0][plait_bs_pkg::FP16_MANTISSA_BITS-1:0] magnitudes;
  logic [Lanes-1:0][plait_bs_pkg::EXPONENT_BITS-1:0]      exponents;

  assign signs = term_signs_i ^ activation_signs_i;
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    assign magnitudes[lane] = term_mans_i[lane] ? activation_mantissas_i[lane] : '0;
    assign exponents[lane] = plait_bs_pkg::EXPONENT_BITS'(activation_exponents_i[lane])
        + plait_bs_pkg::EXPONENT_BITS'(term_exponents_i[lane]);
  end

  plait_bs_dot #(
    .Lanes          (Lanes),
    .MagnitudeBits  (plait_bs_pkg::FP16_MANTISSA_BITS),
    .GuardBits      (GuardBits),
    .ExponentBits   (plait_bs_pkg::EXPONENT_BITS),
    .AccumulatorBits(AccumulatorBits),
    .IntegerBits    (IntegerBits),
    .MaxShift       (plait_bs_pkg::MAX_SHIFT),
    .ShiftBits      (plait_bs_pkg::SHIFT_BITS)
  ) u_dot (
    .clk_i       (clk_i),
    .is_integer_i(is_int8_i),
    .signs_i     (signs),
    .magnitudes_i(magnitudes),
    .exponents_i (exponents),
    .accumulate_i(accumulate_i),
    .first_i     (first_i),
    .shift_i     (term_shift_i),
    .mantissa_o  (mantissa_o),
    .exponent_o  (exponent_o)
  );

endmodule
