// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_array: Rows output channels times Columns tokens, output-stationary.
// Latency:      ScaleBits + 5 cycles from a tile's last term to result_valid_o (a pulse of one
//               cycle); the results hold until the next pulse.
// Throughput:   1 term of each of Rows x Lanes weights a cycle, times Columns x Lanes activations.
//               No ready: cycles without term_valid_i are bubbles.
// Combinational paths from input to output: none.
// The caller keeps at least ScaleBits cycles between the last terms of two groups, and
// format_i and activation_int8_i while anything is in flight.

`include "plait_assert.svh"

module plait_bs_array #(
  parameter int unsigned Rows = 8,
  parameter int unsigned Columns = 4,
  parameter int unsigned Lanes = 4,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned GuardBits = 3,
  parameter int unsigned OutputAccumulatorBits = 32,
  parameter int unsigned ScaleBits = 8,
  parameter bit          Integer = 1'b1,  // 0 removes the INT8 mode
  localparam int unsigned IntegerBits = Integer ? plait_bs_pkg::INTEGER_OUTPUT_BITS : 0,
  localparam int unsigned OutputWidth =
      OutputAccumulatorBits > IntegerBits ? OutputAccumulatorBits : IntegerBits
) (
  input  logic                                                          clk_i,
  input  logic                                                          rst_ni,

  input  logic                                                          term_valid_i,
  input  logic [plait_bs_pkg::FORMAT_BITS-1:0]                          format_i,
  input  logic                                                          activation_int8_i,
  input  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0]                      term_index_i,
  input  logic                                                          group_first_i,  // term
  input  logic                                                          group_last_i,   // term
  input  logic                                                          tile_first_i,   // group
  input  logic                                                          tile_last_i,    // group
  input  logic [Rows-1:0][Lanes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0]   weight_codes_i,
  input  logic [Rows-1:0][plait_bs_pkg::SELECTOR_BITS-1:0]              selectors_i,
  input  logic [Rows-1:0][ScaleBits-1:0]                                scales_i,  // group_last_i
  input  logic [Columns-1:0][Lanes-1:0][15:0]                           activations_i,

  output logic                                                          result_valid_o,
  output logic [Columns-1:0][Rows-1:0][OutputWidth-1:0]                 result_mantissas_o,
  output logic [Columns-1:0][Rows-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] result_exponents_o
);

  if (Rows == 0) begin : gen_check_rows
    $fatal(1, "plait_bs_array: Rows must be at least 1");
  end

  // ---- Control: what a term is, in step with the stages of the PE -------------------------------
  typedef struct packed {
    logic                                group_first;
    logic                                group_last;
    logic                                tile_first;
    logic                                tile_last;
    logic [plait_bs_pkg::SHIFT_BITS-1:0] shift;
  } mark_t;

  logic [4:1] valid_q;  // terms in the decoder's register, aligned, summed, accumulated
  mark_t      mark, mark_q1, mark_q2, mark_q3;
  logic       group_last_q4, tile_first_q4, tile_last_q4;

  assign mark.group_first = group_first_i;
  assign mark.group_last = group_last_i;
  assign mark.tile_first = tile_first_i;
  assign mark.tile_last = tile_last_i;
  assign mark.shift = plait_bs_pkg::term_shift(format_i, term_index_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[3:1], term_valid_i};
  end

  always_ff @(posedge clk_i) begin
    mark_q1 <= mark;
    mark_q2 <= mark_q1;
    mark_q3 <= mark_q2;
    group_last_q4 <= mark_q3.group_last;
    tile_first_q4 <= mark_q3.tile_first;
    tile_last_q4  <= mark_q3.tile_last;
  end

  // ---- Control: dequantisation, ScaleBits cycles behind the last term of a group ----------------
  logic                 dequant_load, dequant_add, result_valid_q;
  logic [ScaleBits-1:0] dequant_q;  // a one moves up: cycles since dequant_load
  logic                 dequant_first_q, dequant_last_q;

  assign dequant_load = valid_q[4] & group_last_q4;
  assign dequant_add = dequant_q[ScaleBits-1];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      dequant_q      <= '0;
      result_valid_q <= 1'b0;
    end else begin
      dequant_q      <= ScaleBits'({dequant_q, dequant_load});
      result_valid_q <= dequant_add & dequant_last_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (dequant_load) begin
      dequant_first_q <= tile_first_q4;
      dequant_last_q  <= tile_last_q4;
    end
  end

  assign result_valid_o = result_valid_q;

  // ---- Activations: split once a column ---------------------------------------------------------
  logic [Columns-1:0][Lanes-1:0] signs, signs_q;
  logic [Columns-1:0][Lanes-1:0][plait_bs_pkg::FP16_EXPONENT_BITS-1:0] exponents, exponents_q;
  logic [Columns-1:0][Lanes-1:0][plait_bs_pkg::FP16_MANTISSA_BITS-1:0] mantissas, mantissas_q;

  for (genvar column = 0; column < Columns; column++) begin : gen_activation
    plait_bs_activation #(
      .Lanes(Lanes)
    ) u_activation (
      .is_int8_i    (activation_int8_i),
      .activations_i(activations_i[column]),
      .signs_o      (signs[column]),
      .exponents_o  (exponents[column]),
      .mantissas_o  (mantissas[column])
    );
  end

  always_ff @(posedge clk_i) begin
    signs_q     <= signs;
    exponents_q <= exponents;
    mantissas_q <= mantissas;
  end

  // ---- Rows -------------------------------------------------------------------------------------
  logic [Rows-1:0][Columns-1:0][OutputWidth-1:0]                 row_mantissas;
  logic [Rows-1:0][Columns-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] row_exponents;

  for (genvar row = 0; row < Rows; row++) begin : gen_row
    // A scale follows the last term of its group, then leaves bit by bit, the highest first.
    logic [ScaleBits-1:0] scale_q1, scale_q2, scale_q3, scale_q4;

    always_ff @(posedge clk_i) begin
      if (group_last_i) scale_q1 <= scales_i[row];
      if (mark_q1.group_last) scale_q2 <= scale_q1;
      if (mark_q2.group_last) scale_q3 <= scale_q2;
      if (valid_q[3] && mark_q3.group_last) scale_q4 <= scale_q3;
      else scale_q4 <= scale_q4 << 1;
    end

    plait_bs_row #(
      .Columns              (Columns),
      .Lanes                (Lanes),
      .AccumulatorBits      (AccumulatorBits),
      .GuardBits            (GuardBits),
      .OutputAccumulatorBits(OutputAccumulatorBits),
      .ScaleBits            (ScaleBits),
      .Integer              (Integer)
    ) u_row (
      .clk_i                 (clk_i),
      .is_int8_i             (activation_int8_i),
      .format_i              (format_i),
      .selector_i            (selectors_i[row]),
      .term_index_i          (term_index_i),
      .codes_i               (weight_codes_i[row]),
      .activation_signs_i    (signs_q),
      .activation_exponents_i(exponents_q),
      .activation_mantissas_i(mantissas_q),
      .accumulate_i          (valid_q[3]),
      .first_i               (mark_q3.group_first),
      .term_shift_i          (mark_q3.shift),
      .dequant_load_i        (dequant_load),
      .dequant_step_i        (|dequant_q),
      .scale_bit_i           (scale_q4[ScaleBits-1]),
      .dequant_add_i         (dequant_add),
      .dequant_first_i       (dequant_first_q),
      .dequant_last_i        (dequant_last_q),
      .mantissas_o           (row_mantissas[row]),
      .exponents_o           (row_exponents[row])
    );

    for (genvar column = 0; column < Columns; column++) begin : gen_result
      assign result_mantissas_o[column][row] = row_mantissas[row][column];
      assign result_exponents_o[column][row] = row_exponents[row][column];
    end
  end

  // A group's scale is multiplied while the next group runs; two must not overlap.
  `PLAIT_ASSERT(a_groups_apart, !(dequant_load && |(dequant_q << 1)))

endmodule
