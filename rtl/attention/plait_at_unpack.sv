// SPDX-License-Identifier: Apache-2.0
//
// plait_at_unpack: takes the word stream of a cache apart: of each part a word of scales, then for
// each token VectorWords of its key and as many of its value; gives whole keys and values.
// Latency:      0 cycles from the last word of a key or value to its stream.
// Throughput:   1 word a cycle.
// Combinational paths from input to output: word_valid_i to the valids, readies to word_ready_o,
//               word_data_i to the data.

`include "plait_assert.svh"

module plait_at_unpack #(
  parameter int unsigned PortBits = 512,
  parameter int unsigned VectorWords = 1,
  localparam int unsigned ScalesPerWord = PortBits / 32,
  localparam int unsigned SlotBits = $clog2(ScalesPerWord),
  localparam int unsigned CountBits = SlotBits + 1,
  localparam int unsigned TokenBits = 16 + VectorWords * PortBits
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                          part_valid_i,
  output logic                          part_ready_o,
  input  logic [SlotBits+CountBits-1:0] part_data_i,  // {first slot, tokens}

  input  logic                word_valid_i,
  output logic                word_ready_o,
  input  logic [PortBits-1:0] word_data_i,

  output logic                 key_valid_o,
  input  logic                 key_ready_i,
  output logic [TokenBits-1:0] key_data_o,  // {scale, vector}

  output logic                 value_valid_o,
  input  logic                 value_ready_i,
  output logic [TokenBits-1:0] value_data_o
);

  localparam int unsigned TokenWords = 2 * VectorWords;
  localparam int unsigned WordBits = $clog2(TokenWords);

  logic [CountBits-1:0] left_d, left_q;  // tokens of the part
  logic [SlotBits-1:0]  slot_d, slot_q;
  logic [WordBits-1:0]  word_d, word_q;  // of the token
  logic [PortBits-1:0]  scales_q;
  logic                 is_scales, is_key_end, is_value_end, word_taken;
  logic [31:0]          slot_scales;

  assign is_scales    = left_q == '0;
  assign is_key_end   = !is_scales && word_q == WordBits'(VectorWords - 1);
  assign is_value_end = !is_scales && word_q == WordBits'(TokenWords - 1);
  assign word_taken   = word_valid_i && word_ready_o;
  assign part_ready_o = is_scales && word_valid_i;

  always_comb begin
    word_ready_o = 1'b1;
    if (is_scales) word_ready_o = part_valid_i;
    else if (is_key_end) word_ready_o = key_ready_i;
    else if (is_value_end) word_ready_o = value_ready_i;
  end

  always_comb begin
    left_d = left_q;
    slot_d = slot_q;
    word_d = word_q;
    if (word_taken) begin
      if (is_scales) begin
        {slot_d, left_d} = part_data_i;
        word_d = '0;
      end else if (is_value_end) begin
        left_d = left_q - 1'b1;
        slot_d = slot_q + 1'b1;
        word_d = '0;
      end else begin
        word_d = word_q + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) left_q <= '0;
    else left_q <= left_d;
  end

  always_ff @(posedge clk_i) begin
    slot_q <= slot_d;
    word_q <= word_d;
    if (word_taken && is_scales) scales_q <= word_data_i;
  end

  assign slot_scales = scales_q[32'(slot_q)*32 +: 32];

  logic [VectorWords*PortBits-1:0] vector;
  if (VectorWords == 1) begin : gen_whole
    assign vector = word_data_i;
  end else begin : gen_collect
    logic [(VectorWords-1)*PortBits-1:0] collected_q;  // the words before, the first lowest
    always_ff @(posedge clk_i) begin
      if (word_taken) collected_q <= ((VectorWords - 1) * PortBits)'(vector >> PortBits);
    end
    assign vector = {word_data_i, collected_q};
  end

  assign key_valid_o   = word_valid_i && is_key_end;
  assign key_data_o    = {slot_scales[15:0], vector};
  assign value_valid_o = word_valid_i && is_value_end;
  assign value_data_o  = {slot_scales[31:16], vector};

endmodule
