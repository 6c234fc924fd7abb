// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_activation_buffer: holds the activations of a token tile, all of K, read step by step.
// A word holds a power of two of steps, or a step takes several words.
// Latency:      activations follow read_i by 2 cycles and hold until those of the next step.
// Throughput:   1 word in and 1 step out a cycle; always ready.
// Combinational paths from input to output: none.
// Infinities and NaN are written as +0 and reported: the array never computes with them.

`include "plait_assert.svh"

module plait_bs_activation_buffer #(
  parameter int unsigned Columns = 4,
  parameter int unsigned Lanes = 4,
  parameter int unsigned PortBits = 256,
  parameter int unsigned ActivationBufferSteps = 1024
) (
  input  logic clk_i,
  input  logic rst_ni,

  output logic [31:0]         capacity_o,    // words; constant
  input  logic                clear_i,       // the next word is a tile's first
  input  logic                is_int8_i,     // constant while words are written
  input  logic                word_valid_i,
  input  logic [PortBits-1:0] word_data_i,
  output logic                non_finite_o,  // in the cycle after the word

  input  logic                                read_i,
  input  logic [31:0]                         step_i,
  output logic [Columns-1:0][Lanes-1:0][15:0] activations_o
);

  localparam int unsigned StepBits = Columns * Lanes * 16;
  localparam int unsigned WordsPerStep = (StepBits + PortBits - 1) / PortBits;
  // Largest power of two of steps that fits a word.
  localparam int unsigned StepsFitting = StepBits > PortBits ? 1 : PortBits / StepBits;
  localparam int unsigned IndexBits = $clog2(StepsFitting + 1) - 1;
  localparam int unsigned StepsPerWord = 2 ** IndexBits;
  localparam int unsigned UsedBits = WordsPerStep > 1 ? PortBits : StepsPerWord * StepBits;
  localparam int unsigned Depth = (ActivationBufferSteps + StepsPerWord - 1) / StepsPerWord;
  localparam int unsigned AddressWidth = Depth > 1 ? $clog2(Depth) : 1;
  localparam int unsigned BankWidth = WordsPerStep > 1 ? $clog2(WordsPerStep) : 1;

  if (Columns == 0 || Lanes == 0) begin : gen_check_shape
    $fatal(1, "plait_bs_activation_buffer: Columns and Lanes must be at least 1");
  end

  logic [AddressWidth-1:0] write_d, write_q;
  logic [BankWidth-1:0]    bank_d, bank_q;
  logic                    is_last_bank;

  assign is_last_bank = bank_q == BankWidth'(WordsPerStep - 1);

  always_comb begin
    write_d = write_q;
    bank_d  = bank_q;
    if (clear_i) begin
      write_d = '0;
      bank_d  = '0;
    end else if (word_valid_i) begin
      bank_d  = is_last_bank ? '0 : bank_q + 1'b1;
      if (is_last_bank) write_d = write_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      bank_q  <= '0;
    end else begin
      write_q <= write_d;
      bank_q  <= bank_d;
    end
  end

  assign capacity_o = 32'(Depth * WordsPerStep);

  // ---- Only finite values enter -----------------------------------------------------------------
  logic [UsedBits/16-1:0][15:0] values;
  logic [UsedBits/16-1:0]       is_non_finite;

  for (genvar value = 0; value < UsedBits / 16; value++) begin : gen_value
    assign is_non_finite[value] = !is_int8_i && word_data_i[value*16+10 +: 5] == 5'h1f;
    assign values[value] = is_non_finite[value] ? 16'h0000 : word_data_i[value*16 +: 16];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) non_finite_o <= 1'b0;
    else non_finite_o <= word_valid_i && is_non_finite != '0;
  end

  // ---- Memory -----------------------------------------------------------------------------------
  logic [WordsPerStep-1:0][UsedBits-1:0] row_data;
  logic [AddressWidth-1:0]               read_address;
  logic                                  read_q;

  assign read_address = step_i[IndexBits +: AddressWidth];

  for (genvar bank = 0; bank < WordsPerStep; bank++) begin : gen_bank
    plait_ram_1r1w #(
      .Width(UsedBits),
      .Depth(Depth)
    ) u_ram (
      .clk_i,
      .write_enable_i (word_valid_i && bank_q == BankWidth'(bank)),
      .write_address_i(write_q),
      .write_data_i   (values),
      .read_enable_i  (read_i),
      .read_address_i (read_address),
      .read_data_o    (row_data[bank])
    );
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) read_q <= 1'b0;
    else read_q <= read_i;
  end

  if (StepsPerWord > 1) begin : gen_steps_of_word
    logic [StepsPerWord-1:0][StepBits-1:0] steps;
    logic [IndexBits-1:0]                  index_q;
    assign steps = row_data;
    always_ff @(posedge clk_i) index_q <= step_i[IndexBits-1:0];
    always_ff @(posedge clk_i) if (read_q) activations_o <= steps[index_q];
  end else begin : gen_words_of_step
    logic [WordsPerStep*UsedBits-1:0] step_bits;
    assign step_bits = row_data;
    always_ff @(posedge clk_i) if (read_q) activations_o <= step_bits[StepBits-1:0];
  end

  logic unused_word_bits;  // a word may have room left
  assign unused_word_bits = ^word_data_i;

  `PLAIT_ASSERT(a_write_in_bounds, word_valid_i && !clear_i |-> 32'(write_q) < Depth)
  `PLAIT_ASSERT(a_read_in_bounds, read_i |-> (step_i >> IndexBits) < Depth)

endmodule
