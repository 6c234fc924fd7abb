// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_row: one output channel; a term decoder and Columns PEs with their dequantisers.
// Latency:      1 cycle in the term register, then as plait_bs_pe and plait_bs_dequant.
// Throughput:   1 term of each lane a cycle.
// Combinational paths from input to output: none.

module plait_bs_row #(
  parameter int unsigned Columns = 4,
  parameter int unsigned Lanes = 4,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned GuardBits = 3,
  parameter int unsigned OutputAccumulatorBits = 32,
  parameter int unsigned ScaleBits = 8,
  parameter bit          Integer = 1'b1,
  localparam int unsigned ActivationExponentBits = plait_bs_pkg::FP16_EXPONENT_BITS,
  localparam int unsigned ActivationMantissaBits = plait_bs_pkg::FP16_MANTISSA_BITS,
  localparam int unsigned IntegerBits = Integer ? plait_bs_pkg::INTEGER_OUTPUT_BITS : 0,
  localparam int unsigned OutputWidth =
      OutputAccumulatorBits > IntegerBits ? OutputAccumulatorBits : IntegerBits
) (
  input  logic                                                    clk_i,
  input  logic                                                    is_int8_i,

  // Weights of a step, and which term of them.
  input  logic [plait_bs_pkg::FORMAT_BITS-1:0]                    format_i,
  input  logic [plait_bs_pkg::SELECTOR_BITS-1:0]                  selector_i,
  input  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0]                term_index_i,
  input  logic [Lanes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0]       codes_i,

  // One cycle after their weights.
  input  logic [Columns-1:0][Lanes-1:0]                             activation_signs_i,
  input  logic [Columns-1:0][Lanes-1:0][ActivationExponentBits-1:0] activation_exponents_i,
  input  logic [Columns-1:0][Lanes-1:0][ActivationMantissaBits-1:0] activation_mantissas_i,

  // Three cycles after their weights.
  input  logic                                                    accumulate_i,
  input  logic                                                    first_i,
  input  logic [plait_bs_pkg::SHIFT_BITS-1:0]                     term_shift_i,

  // Four cycles after the last weights of a group, and in the ScaleBits cycles that follow.
  input  logic                                                    dequant_load_i,
  input  logic                                                    dequant_step_i,
  input  logic                                                    scale_bit_i,
  input  logic                                                    dequant_add_i,
  input  logic                                                    dequant_first_i,
  input  logic                                                    dequant_last_i,

  output logic [Columns-1:0][OutputWidth-1:0]                     mantissas_o,
  output logic [Columns-1:0][plait_bs_pkg::EXPONENT_BITS-1:0]     exponents_o
);

  if (Columns == 0) begin : gen_check_columns
    $fatal(1, "plait_bs_row: Columns must be at least 1");
  end

  localparam int unsigned GroupIntegerBits = Integer ? plait_bs_pkg::INTEGER_ACCUMULATOR_BITS : 0;
  localparam int unsigned AccumulatorWidth =
      AccumulatorBits > GroupIntegerBits ? AccumulatorBits : GroupIntegerBits;

  logic [Lanes-1:0]                                       term_signs, term_signs_q;
  logic [Lanes-1:0]                                       term_mans, term_mans_q;
  logic [Lanes-1:0][plait_bs_pkg::TERM_EXPONENT_BITS-1:0] term_exponents, term_exponents_q;

  plait_bs_term_decoder #(
    .Lanes(Lanes)
  ) u_decoder (
    .format_i       (format_i),
    .selector_i     (selector_i),
    .term_index_i   (term_index_i),
    .codes_i        (codes_i),
    .term_sign_o    (term_signs),
    .term_man_o     (term_mans),
    .term_exponent_o(term_exponents)
  );

  always_ff @(posedge clk_i) begin
    term_signs_q     <= term_signs;
    term_mans_q      <= term_mans;
    term_exponents_q <= term_exponents;
  end

  for (genvar column = 0; column < Columns; column++) begin : gen_column
    logic signed [AccumulatorWidth-1:0]     group_mantissa;
    logic [plait_bs_pkg::EXPONENT_BITS-1:0] group_exponent;

    plait_bs_pe #(
      .Lanes          (Lanes),
      .AccumulatorBits(AccumulatorBits),
      .GuardBits      (GuardBits),
      .Integer        (Integer)
    ) u_pe (
      .clk_i                 (clk_i),
      .is_int8_i             (is_int8_i),
      .term_signs_i          (term_signs_q),
      .term_mans_i           (term_mans_q),
      .term_exponents_i      (term_exponents_q),
      .activation_signs_i    (activation_signs_i[column]),
      .activation_exponents_i(activation_exponents_i[column]),
      .activation_mantissas_i(activation_mantissas_i[column]),
      .accumulate_i          (accumulate_i),
      .first_i               (first_i),
      .term_shift_i          (term_shift_i),
      .mantissa_o            (group_mantissa),
      .exponent_o            (group_exponent)
    );

    plait_bs_dequant #(
      .AccumulatorBits      (AccumulatorBits),
      .OutputAccumulatorBits(OutputAccumulatorBits),
      .ScaleBits            (ScaleBits),
      .Integer              (Integer)
    ) u_dequant (
      .clk_i      (clk_i),
      .is_int8_i  (is_int8_i),
      .load_i     (dequant_load_i),
      .mantissa_i (group_mantissa),
      .exponent_i (group_exponent),
      .step_i     (dequant_step_i),
      .scale_bit_i(scale_bit_i),
      .add_i      (dequant_add_i),
      .first_i    (dequant_first_i),
      .last_i     (dequant_last_i),
      .mantissa_o (mantissas_o[column]),
      .exponent_o (exponents_o[column])
    );
  end

endmodule
