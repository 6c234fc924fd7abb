// SPDX-License-Identifier: Apache-2.0
//
// plait_at_address: turns segments of tokens into jobs of the reader: for each part of a segment
// that shares a word of scales, that word, then keys and values. Tokens of no segment cost nothing.
// Latency:      1 cycle from start_i to the first job.
// Throughput:   1 job a cycle.
// Combinational paths from input to output: part_ready_i to job_valid_o, job_ready_i to
//               part_valid_o; segment_*_i and *_address_i to job_*_o and part_data_o.

`include "plait_assert.svh"

module plait_at_address #(
  parameter int unsigned ScalesPerWord = 16,
  parameter int unsigned TokenWords = 2,
  localparam int unsigned SlotBits = $clog2(ScalesPerWord),
  localparam int unsigned CountBits = SlotBits + 1
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic        start_i,  // with at least one segment
  input  logic [31:0] segments_i,
  input  logic [31:0] scale_address_i,
  input  logic [31:0] cache_address_i,
  output logic        busy_o,

  output logic [31:0] segment_index_o,
  input  logic [31:0] segment_first_i,  // of segment_index_o, in the same cycle
  input  logic [31:0] segment_count_i,  // at least 1

  output logic        job_valid_o,
  input  logic        job_ready_i,
  output logic [31:0] job_address_o,
  output logic [31:0] job_words_o,

  output logic                          part_valid_o,  // once a part, with its scales
  input  logic                          part_ready_i,
  output logic [SlotBits+CountBits-1:0] part_data_o    // {first slot, tokens}
);

  if (ScalesPerWord < 2 || 2 ** SlotBits != ScalesPerWord) begin : gen_check_scales
    $fatal(1, "plait_at_address: ScalesPerWord must be a power of two");
  end
  if (TokenWords == 0) begin : gen_check_words
    $fatal(1, "plait_at_address: TokenWords must be at least 1");
  end

  typedef enum logic [1:0] {AddressIdle, AddressSegment, AddressScales, AddressTokens} state_e;

  state_e              state_d, state_q;
  logic [31:0]         index_d, index_q, token_d, token_q, left_d, left_q;
  logic [31:0]         token, left;
  logic [SlotBits-1:0] slot;
  logic [31:0]         room, tokens;
  logic                is_scale_job;

  // The first part of a segment comes straight from the list.
  assign token = state_q == AddressSegment ? segment_first_i : token_q;
  assign left = state_q == AddressSegment ? segment_count_i : left_q;
  assign slot = token[SlotBits-1:0];
  assign room = 32'(ScalesPerWord) - 32'(slot);
  assign tokens = left < room ? left : room;
  assign is_scale_job = state_q == AddressSegment || state_q == AddressScales;

  assign segment_index_o = index_q;
  assign job_valid_o = is_scale_job ? part_ready_i : state_q == AddressTokens;
  assign job_address_o = is_scale_job ? scale_address_i + (token >> SlotBits)
                                      : cache_address_i + token * 32'(TokenWords);
  assign job_words_o = is_scale_job ? 32'd1 : tokens * 32'(TokenWords);
  assign part_valid_o = is_scale_job && job_ready_i;
  assign part_data_o = {slot, tokens[CountBits-1:0]};
  assign busy_o = state_q != AddressIdle;

  always_comb begin
    state_d = state_q;
    index_d = index_q;
    token_d = token_q;
    left_d  = left_q;
    unique case (state_q)
      AddressIdle: begin
        index_d = '0;
        if (start_i) state_d = AddressSegment;
      end
      AddressSegment, AddressScales: begin
        token_d = token;
        left_d  = left;
        if (job_valid_o && job_ready_i) state_d = AddressTokens;
        else state_d = AddressScales;
      end
      AddressTokens: begin
        if (job_ready_i) begin
          token_d = token_q + tokens;
          left_d  = left_q - tokens;
          state_d = AddressScales;
          if (left_q == tokens) begin
            index_d = index_q + 1'b1;
            state_d = index_d == segments_i ? AddressIdle : AddressSegment;
          end
        end
      end
      default: state_d = AddressIdle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) state_q <= AddressIdle;
    else state_q <= state_d;
  end

  always_ff @(posedge clk_i) begin
    index_q <= index_d;
    token_q <= token_d;
    left_q  <= left_d;
  end

  `PLAIT_ASSERT(a_segment_not_empty, state_q == AddressSegment |-> segment_count_i != '0)
  `PLAIT_ASSERT(a_start_while_idle, start_i |-> state_q == AddressIdle && segments_i != '0)

endmodule
