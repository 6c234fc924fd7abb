// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_output: drains a tile of results, word by word, through the channel steps' multipliers.
// The array holds the results until its next tile; tile_drained_o says that it may come.
// Latency:      3 cycles from result_valid_i to the first word: select, multiply, offer.
// Throughput:   1 word (PortBits / 32 results) a cycle.
// channel_steps_i must hold from the cycle after result_valid_i until tile_drained_o.
// Combinational paths from input to output: word_ready_i to tile_drained_o.

`include "plait_assert.svh"

module plait_bs_output #(
  parameter int unsigned Rows = 8,
  parameter int unsigned Columns = 4,
  parameter int unsigned GuardBits = 3,
  parameter int unsigned MantissaBits = 40,
  parameter int unsigned PortBits = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  output logic [31:0]                                                   tile_words_o,  // constant
  input  logic                                                          is_int8_i,     // held
  input  logic                                                          result_valid_i,
  input  logic [Columns-1:0][Rows-1:0][MantissaBits-1:0]                mantissas_i,
  input  logic [Columns-1:0][Rows-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] exponents_i,
  input  logic [Rows-1:0][15:0]                                         channel_steps_i,

  output logic tile_drained_o,  // last word is selected
  output logic idle_o,          // no result inside

  output logic                word_valid_o,
  input  logic                word_ready_i,
  output logic [PortBits-1:0] word_data_o
);

  localparam int unsigned WordResults = PortBits / 32;
  localparam int unsigned Results = Rows * Columns;
  localparam int unsigned Words = (Results + WordResults - 1) / WordResults;
  localparam int unsigned WordWidth = Words > 1 ? $clog2(Words) : 1;

  // Results beyond the last one are zero; so is a result of mantissa zero.
  logic [Words*WordResults-1:0][MantissaBits-1:0]                     mantissas;
  logic [Words*WordResults-1:0][plait_bs_pkg::EXPONENT_BITS-1:0]      exponents;
  logic [Words*WordResults-1:0][15:0]                                 channel_steps;
  logic [Words-1:0][WordResults-1:0][MantissaBits-1:0]                mantissa_words;
  logic [Words-1:0][WordResults-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] exponent_words;
  logic [Words-1:0][WordResults-1:0][15:0]                            channel_step_words;

  for (genvar result = 0; result < Words * WordResults; result++) begin : gen_result
    if (result < Results) begin : gen_used
      assign mantissas[result]     = mantissas_i[result/Rows][result%Rows];
      assign exponents[result]     = exponents_i[result/Rows][result%Rows];
      assign channel_steps[result] = channel_steps_i[result%Rows];
    end else begin : gen_padding
      assign mantissas[result]     = '0;
      assign exponents[result]     = '0;
      assign channel_steps[result] = '0;
    end
  end

  assign mantissa_words     = mantissas;
  assign exponent_words     = exponents;
  assign channel_step_words = channel_steps;

  logic                                                    draining_d, draining_q;
  logic [WordWidth-1:0]                                    word_d, word_q;
  logic                                                    selected_valid_d, selected_valid_q;
  logic                                                    scaled_valid_d, scaled_valid_q;
  logic                                                    is_last_word, select, scale;
  logic [WordResults-1:0][MantissaBits-1:0]                mantissa_q;
  logic [WordResults-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] exponent_q;
  logic [WordResults-1:0][15:0]                            channel_step_q;
  logic [WordResults-1:0][31:0]                            scaled, scaled_q;

  assign is_last_word = word_q == WordWidth'(Words - 1);
  assign scale        = selected_valid_q && (!scaled_valid_q || word_ready_i);
  assign select       = draining_q && (!selected_valid_q || scale);

  always_comb begin
    draining_d       = draining_q;
    word_d           = word_q;
    selected_valid_d = selected_valid_q;
    scaled_valid_d   = scaled_valid_q;
    if (word_ready_i) scaled_valid_d = 1'b0;
    if (scale) begin
      scaled_valid_d   = 1'b1;
      selected_valid_d = 1'b0;
    end
    if (select) begin
      selected_valid_d = 1'b1;
      word_d           = is_last_word ? '0 : word_q + 1'b1;
      draining_d       = !is_last_word;
    end
    if (result_valid_i) draining_d = 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      draining_q       <= 1'b0;
      word_q           <= '0;
      selected_valid_q <= 1'b0;
      scaled_valid_q   <= 1'b0;
    end else begin
      draining_q       <= draining_d;
      word_q           <= word_d;
      selected_valid_q <= selected_valid_d;
      scaled_valid_q   <= scaled_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    if (select) begin
      mantissa_q     <= mantissa_words[word_q];
      exponent_q     <= exponent_words[word_q];
      channel_step_q <= channel_step_words[word_q];
    end
    if (scale) scaled_q <= scaled;
  end

  for (genvar result = 0; result < WordResults; result++) begin : gen_scale
    plait_bs_scale #(
      .GuardBits   (GuardBits),
      .MantissaBits(MantissaBits)
    ) u_scale (
      .is_int8_i     (is_int8_i),
      .mantissa_i    (mantissa_q[result]),
      .exponent_i    (exponent_q[result]),
      .channel_step_i(channel_step_q[result]),
      .result_o      (scaled[result])
    );
  end

  assign tile_words_o   = 32'(Words);
  assign tile_drained_o = select && is_last_word;
  assign idle_o         = !draining_q && !selected_valid_q && !scaled_valid_q;
  assign word_valid_o   = scaled_valid_q;
  assign word_data_o    = scaled_q;

  `PLAIT_ASSERT(a_register_was_empty, result_valid_i |-> !draining_q)
  `PLAIT_ASSERT_STREAM(a_word_stable, word_valid_o, word_ready_i, word_data_o)

endmodule
