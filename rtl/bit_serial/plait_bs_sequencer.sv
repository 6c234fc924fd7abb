// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_sequencer: works through a list of descriptors: fetches and checks each, then for every
// token tile has the activations loaded, the weights streamed and the terms issued, and waits at
// the end until all results are written.
// Latency:      1 cycle from start_i to the first job of the reader; 2 cycles from the second word
//               of a descriptor to the job for its activations; 1 cycle from issue_finished_i to
//               that of the next token tile.
// Throughput:   1 word a cycle to the buffers.
// Combinational paths from input to output: weight_word_ready_i to word_ready_o, word_valid_i to
//               *_word_valid_o.

`include "plait_assert.svh"

module plait_bs_sequencer #(
  parameter int unsigned PortBits = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                         start_i,               // only while not busy
  input  logic [31:0]                  descriptor_address_i,
  output logic                         busy_o,
  output logic                         done_o,                // in the first cycle after busy_o
  output logic                         bad_descriptor_o,
  output plait_bs_machine_pkg::state_e state_o,

  output logic        job_valid_o,
  input  logic        job_ready_i,
  output logic [31:0] job_address_o,
  output logic [31:0] job_words_o,

  input  logic                word_valid_i,
  output logic                word_ready_o,
  input  logic [PortBits-1:0] word_data_i,
  output logic                activation_word_valid_o,  // always taken
  output logic                weight_word_valid_o,
  input  logic                weight_word_ready_i,

  // What the machine can take, in words: activations of a token tile; results of a tile.
  input  logic [31:0] activation_capacity_i,
  input  logic [31:0] result_words_i,

  output logic                          is_loading_o,  // activations of the token tile on their way
  output plait_bs_machine_pkg::matmul_t matmul_o,
  output logic                          descriptor_start_o,  // matmul_o is good and begins
  output logic                          token_tile_start_o,
  input  logic                          issue_finished_i,
  input  logic                          output_idle_i        // all results are written
);

  plait_bs_machine_pkg::state_e                     state_d, state_q;
  logic                                             done_d, done_q;
  logic                                             bad_d, bad_q;
  logic [31:0]                                      descriptor_d, descriptor_q;
  logic [31:0]                                      activation_address_d, activation_address_q;
  logic [31:0]                                      token_tile_d, token_tile_q;
  logic [31:0]                                      activations_left_d, activations_left_q;
  logic                                             is_second_word_d, is_second_word_q;
  plait_bs_machine_pkg::descriptor_task_t           task_q;
  plait_bs_machine_pkg::descriptor_counts_t         counts_q;
  logic [plait_bs_machine_pkg::DESCRIPTOR_BITS-1:0] descriptor_word;
  logic is_good, is_last_token_tile, takes_descriptor, takes_activations;

  assign descriptor_word    = word_data_i[plait_bs_machine_pkg::DESCRIPTOR_BITS-1:0];
  assign takes_descriptor   = state_q == plait_bs_machine_pkg::SequencerDescriptor;
  assign takes_activations  = activations_left_q != '0;
  assign is_last_token_tile = token_tile_q == counts_q.token_tiles - 1'b1;

  // Counts of zero would never end, and a tile of another machine would not fit this one.
  assign is_good = task_q.magic == plait_bs_machine_pkg::DESCRIPTOR_MAGIC
      && 32'(task_q.format_index) < plait_bs_pkg::NUM_FORMATS
      && counts_q.token_tiles != '0 && counts_q.output_tiles != '0 && counts_q.groups != '0
      && counts_q.steps_per_group != '0 && counts_q.last_group_steps != '0
      && counts_q.last_group_steps <= counts_q.steps_per_group
      && task_q.inputs <= 32'(plait_bs_machine_pkg::MAX_INPUTS)
      && counts_q.weight_words != '0 && counts_q.activation_words != '0
      && counts_q.activation_words <= activation_capacity_i
      && counts_q.result_words == result_words_i;

  always_comb begin
    state_d              = state_q;
    done_d               = 1'b0;
    bad_d                = bad_q;
    descriptor_d         = descriptor_q;
    activation_address_d = activation_address_q;
    token_tile_d         = token_tile_q;
    activations_left_d   = activations_left_q;
    is_second_word_d     = is_second_word_q;
    if (activation_word_valid_o) activations_left_d = activations_left_q - 1'b1;
    unique case (state_q)
      plait_bs_machine_pkg::SequencerIdle: if (start_i) begin
        state_d      = plait_bs_machine_pkg::SequencerFetch;
        bad_d        = 1'b0;
        descriptor_d = descriptor_address_i;
      end
      plait_bs_machine_pkg::SequencerFetch: if (job_ready_i) begin
        state_d          = plait_bs_machine_pkg::SequencerDescriptor;
        is_second_word_d = 1'b0;
        descriptor_d     = descriptor_q + 32'(plait_bs_machine_pkg::DESCRIPTOR_WORDS);
      end
      plait_bs_machine_pkg::SequencerDescriptor: if (word_valid_i) begin
        is_second_word_d = 1'b1;
        if (is_second_word_q) state_d = plait_bs_machine_pkg::SequencerCheck;
      end
      plait_bs_machine_pkg::SequencerCheck: begin
        state_d              = plait_bs_machine_pkg::SequencerIdle;
        if (is_good) state_d = plait_bs_machine_pkg::SequencerLoad;
        bad_d                = !is_good;
        done_d               = !is_good;
        token_tile_d         = '0;
        activation_address_d = task_q.activation_address;
      end
      plait_bs_machine_pkg::SequencerLoad: if (job_ready_i) begin
        state_d              = plait_bs_machine_pkg::SequencerStream;
        activation_address_d = activation_address_q + counts_q.activation_words;
        activations_left_d   = counts_q.activation_words;
      end
      plait_bs_machine_pkg::SequencerStream: if (job_ready_i) begin
        state_d = plait_bs_machine_pkg::SequencerRun;
      end
      plait_bs_machine_pkg::SequencerRun: if (issue_finished_i) begin
        token_tile_d = token_tile_q + 1'b1;
        state_d      = plait_bs_machine_pkg::SequencerLoad;
        if (is_last_token_tile) state_d = plait_bs_machine_pkg::SequencerFlush;
      end
      plait_bs_machine_pkg::SequencerFlush: if (output_idle_i) begin
        state_d = plait_bs_machine_pkg::SequencerFetch;
        if (task_q.last) state_d = plait_bs_machine_pkg::SequencerIdle;
        done_d  = task_q.last;
      end
      default: state_d = plait_bs_machine_pkg::SequencerIdle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q            <= plait_bs_machine_pkg::SequencerIdle;
      done_q             <= 1'b0;
      bad_q              <= 1'b0;
      activations_left_q <= '0;
    end else begin
      state_q            <= state_d;
      done_q             <= done_d;
      bad_q              <= bad_d;
      activations_left_q <= activations_left_d;
    end
  end

  always_ff @(posedge clk_i) begin
    descriptor_q         <= descriptor_d;
    activation_address_q <= activation_address_d;
    token_tile_q         <= token_tile_d;
    is_second_word_q     <= is_second_word_d;
    if (takes_descriptor && word_valid_i) begin
      if (is_second_word_q) counts_q <= descriptor_word;
      else task_q <= descriptor_word;
    end
  end

  // ---- Jobs of the reader -----------------------------------------------------------------------
  assign job_valid_o = state_q == plait_bs_machine_pkg::SequencerFetch
                    || state_q == plait_bs_machine_pkg::SequencerLoad
                    || state_q == plait_bs_machine_pkg::SequencerStream;

  always_comb begin
    unique case (state_q)
      plait_bs_machine_pkg::SequencerLoad: begin
        job_address_o = activation_address_q;
        job_words_o   = counts_q.activation_words;
      end
      plait_bs_machine_pkg::SequencerStream: begin
        job_address_o = task_q.weight_address;
        job_words_o   = counts_q.weight_words;
      end
      default: begin
        job_address_o = descriptor_q;
        job_words_o   = 32'(plait_bs_machine_pkg::DESCRIPTOR_WORDS);
      end
    endcase
  end

  // ---- Words in the order of the jobs -----------------------------------------------------------
  assign word_ready_o            = takes_descriptor || takes_activations || weight_word_ready_i;
  assign activation_word_valid_o = word_valid_i && takes_activations;
  assign weight_word_valid_o     = word_valid_i && !takes_descriptor && !takes_activations;

  assign busy_o             = state_q != plait_bs_machine_pkg::SequencerIdle;
  assign done_o             = done_q;
  assign bad_descriptor_o   = bad_q;
  assign state_o            = state_q;
  assign is_loading_o       = state_q == plait_bs_machine_pkg::SequencerLoad || takes_activations;
  assign descriptor_start_o = state_q == plait_bs_machine_pkg::SequencerCheck && is_good;
  assign token_tile_start_o = state_q == plait_bs_machine_pkg::SequencerLoad && job_ready_i;

  assign matmul_o.format_index     = task_q.format_index;
  assign matmul_o.is_int8          = task_q.activation_int8;
  assign matmul_o.result_address   = task_q.result_address;
  assign matmul_o.output_tiles     = counts_q.output_tiles;
  assign matmul_o.groups           = counts_q.groups;
  assign matmul_o.steps_per_group  = counts_q.steps_per_group;
  assign matmul_o.last_group_steps = counts_q.last_group_steps;

  // Fields for the host alone, and what a wider word has left.
  logic unused_bits;
  assign unused_bits = ^{word_data_i, task_q.group_size, task_q.outputs, task_q.tokens,
                         task_q.reserved_high, task_q.reserved_low};

  `PLAIT_ASSERT(a_start_while_idle, start_i |-> !busy_o)
  `PLAIT_ASSERT(a_word_belongs,
                word_valid_i |-> takes_descriptor || takes_activations
                    || state_q == plait_bs_machine_pkg::SequencerStream
                    || state_q == plait_bs_machine_pkg::SequencerRun)
  `PLAIT_ASSERT(a_finish_while_running,
                issue_finished_i |-> state_q == plait_bs_machine_pkg::SequencerRun)

endmodule
