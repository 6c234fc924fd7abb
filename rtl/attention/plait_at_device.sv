// SPDX-License-Identifier: Apache-2.0
//
// plait_at_device: attention on a memory device: a list of jobs, each the query heads of one KV head
// over segments of its cache, gives partial results (reference, S, A) in memory.
// Latency:      see "The attention unit" in rtl/README.md.
// Throughput:   see "The attention unit" in rtl/README.md.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_at_device #(
  parameter int unsigned QueryHeads = 4,
  parameter int unsigned HeadSize = 64,
  parameter int unsigned Lanes = 16,
  parameter int unsigned PortBits = 512,
  parameter int unsigned MaxSegments = 64
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                               start_i,
  input  logic [31:0]                                        descriptor_address_i,
  output logic                                               busy_o,
  output logic                                               done_o,  // a pulse
  output plait_at_machine_pkg::state_e                       state_o,
  output logic [plait_at_machine_pkg::NUM_ERRORS-1:0]        error_o,
  output logic [31:0]                                        cycles_o,
  output logic [plait_at_machine_pkg::NUM_COUNTERS-1:0][31:0] counters_o,

  output logic                mem_read_request_valid_o,
  input  logic                mem_read_request_ready_i,
  output logic [31:0]         mem_read_request_address_o,
  output logic [15:0]         mem_read_request_length_o,
  input  logic                mem_read_valid_i,
  output logic                mem_read_ready_o,
  input  logic [PortBits-1:0] mem_read_data_i,

  output logic                mem_write_valid_o,
  input  logic                mem_write_ready_i,
  output logic [31:0]         mem_write_address_o,
  output logic [PortBits-1:0] mem_write_data_o
);

  if (PortBits < 256 || 2 ** $clog2(PortBits) != PortBits) begin : gen_check_port
    $fatal(1, "plait_at_device: PortBits must be a power of two, 256 or more");
  end
  if (HeadSize == 0 || QueryHeads == 0 || Lanes == 0 || MaxSegments == 0) begin : gen_check_sizes
    $fatal(1, "plait_at_device: HeadSize, QueryHeads, Lanes, MaxSegments must be at least 1");
  end
  if (QueryHeads * 8 > PortBits) begin : gen_check_heads
    $fatal(1, "plait_at_device: the score shifts of all heads must fit a word");
  end

  localparam int unsigned QueryBits = plait_at_pkg::QUERY_BITS;
  localparam int unsigned ValueBits = plait_at_pkg::VALUE_BITS;
  localparam int unsigned ReferenceBits = plait_at_pkg::REFERENCE_BITS;
  localparam int unsigned SumBits = plait_at_pkg::SUM_BITS;
  localparam int unsigned AccumulatorBits = plait_at_pkg::ACCUMULATOR_BITS;

  localparam int unsigned Steps = (HeadSize + Lanes - 1) / Lanes;
  localparam int unsigned StepBits = Steps > 1 ? $clog2(Steps) : 1;
  localparam int unsigned VectorWords = (HeadSize * ValueBits + PortBits - 1) / PortBits;
  localparam int unsigned VectorBits = VectorWords * PortBits;
  localparam int unsigned QueryWords = (HeadSize * QueryBits + PortBits - 1) / PortBits;
  localparam int unsigned QueryLoadWords = 1 + QueryHeads * QueryWords;
  localparam int unsigned SegmentsPerWord = PortBits / 64;
  localparam int unsigned SegmentWords = (MaxSegments + SegmentsPerWord - 1) / SegmentsPerWord;
  localparam int unsigned SegmentWordBits = SegmentWords > 1 ? $clog2(SegmentWords) : 1;
  localparam int unsigned ScalesPerWord = PortBits / 32;
  localparam int unsigned PartBits = 2 * $clog2(ScalesPerWord) + 1;
  localparam int unsigned TokenBits = 16 + VectorBits;
  localparam int unsigned TokenBuffer = 8;   // keys, and values: what a token waits for is hidden
  localparam int unsigned PartBuffer = 32;   // parts on their way
  localparam int unsigned RowWords = (Lanes * 64 + PortBits - 1) / PortBits;
  localparam int unsigned RowBits = RowWords * PortBits;
  localparam logic signed [ReferenceBits:0] MostDistance =
      (ReferenceBits + 1)'(plait_at_pkg::UNIFIED_SLACK);
  localparam logic [31:0] LastPiece = 32'(RowWords - 1);

  // ---- Reads ------------------------------------------------------------------------------------
  logic                job_valid, job_ready, word_valid, word_ready;
  logic [31:0]         job_address, job_words;
  logic [PortBits-1:0] word_data;

  plait_bs_reader #(
    .PortBits(PortBits)
  ) u_reader (
    .clk_i,
    .rst_ni,
    .job_valid_i  (job_valid),
    .job_ready_o  (job_ready),
    .job_address_i(job_address),
    .job_words_i  (job_words),
    .mem_read_request_valid_o,
    .mem_read_request_ready_i,
    .mem_read_request_address_o,
    .mem_read_request_length_o,
    .mem_read_valid_i,
    .mem_read_ready_o,
    .mem_read_data_i,
    .word_valid_o (word_valid),
    .word_ready_i (word_ready),
    .word_data_o  (word_data)
  );

  // ---- Sequencer --------------------------------------------------------------------------------
  plait_at_machine_pkg::state_e      state_d, state_q;
  plait_at_machine_pkg::descriptor_t descriptor_d, descriptor_q;
  logic [31:0]                       address_d, address_q;  // of the descriptor
  logic [31:0]                       loaded_d, loaded_q;    // words
  logic                              is_unified_d, is_unified_q;
  logic                              bad_descriptor_d, bad_descriptor_q;
  logic                              done_d, done_q;
  logic                              is_accepted, is_suited, is_empty, drained, writer_idle;
  logic [31:0]                       keys, tokens, segment_load_words;
  logic                              begin_tokens;
  logic [QueryHeads-1:0][ReferenceBits-1:0] references, largest;

  assign is_empty = descriptor_q.tokens == '0;
  assign segment_load_words =
      (descriptor_q.segments + 32'(SegmentsPerWord - 1)) / 32'(SegmentsPerWord);
  assign is_accepted = descriptor_q.magic == plait_at_machine_pkg::DESCRIPTOR_MAGIC
      && descriptor_q.tokens <= 32'd1 << plait_at_pkg::CONTEXT_BITS
      && descriptor_q.segments <= 32'(MaxSegments)
      && (descriptor_q.segments == '0) == is_empty
      && descriptor_q.load_words == 32'(QueryLoadWords) + segment_load_words;

  // A head whose largest score is above the unified maximum, or too far below.
  logic [QueryHeads-1:0] unsuited;
  for (genvar head = 0; head < QueryHeads; head++) begin : gen_judge
    logic signed [ReferenceBits:0] distance;
    assign distance = (ReferenceBits + 1)'(signed'(references[head]))
        - (ReferenceBits + 1)'(signed'(largest[head]));
    assign unsuited[head] = distance < 0 || distance > MostDistance;
  end
  assign is_suited = unsuited == '0;

  always_comb begin
    state_d          = state_q;
    descriptor_d     = descriptor_q;
    address_d        = address_q;
    loaded_d         = loaded_q;
    is_unified_d     = is_unified_q;
    bad_descriptor_d = bad_descriptor_q;
    done_d           = 1'b0;
    unique case (state_q)
      plait_at_machine_pkg::DeviceIdle: begin
        if (start_i) begin
          state_d          = plait_at_machine_pkg::DeviceFetch;
          address_d        = descriptor_address_i;
          bad_descriptor_d = 1'b0;
        end
      end
      plait_at_machine_pkg::DeviceFetch: begin
        if (job_ready) state_d = plait_at_machine_pkg::DeviceDescriptor;
      end
      plait_at_machine_pkg::DeviceDescriptor: begin
        descriptor_d = word_data[plait_at_machine_pkg::DESCRIPTOR_BITS-1:0];
        if (word_valid) state_d = plait_at_machine_pkg::DeviceCheck;
      end
      plait_at_machine_pkg::DeviceCheck: begin
        is_unified_d = descriptor_q.is_unified;
        loaded_d     = '0;
        state_d      = plait_at_machine_pkg::DeviceAsk;
        if (!is_accepted) begin
          bad_descriptor_d = 1'b1;
          done_d           = 1'b1;
          state_d          = plait_at_machine_pkg::DeviceIdle;
        end
      end
      plait_at_machine_pkg::DeviceAsk: begin
        if (job_ready) state_d = plait_at_machine_pkg::DeviceLoad;
      end
      plait_at_machine_pkg::DeviceLoad: begin
        if (word_valid) loaded_d = loaded_q + 1'b1;
        if (loaded_d == descriptor_q.load_words) begin
          state_d = is_empty ? plait_at_machine_pkg::DeviceDrain
                             : plait_at_machine_pkg::DeviceBegin;
        end
      end
      plait_at_machine_pkg::DeviceBegin: state_d = plait_at_machine_pkg::DeviceRun;
      plait_at_machine_pkg::DeviceRun: begin
        if (tokens == descriptor_q.tokens) state_d = plait_at_machine_pkg::DeviceJudge;
      end
      plait_at_machine_pkg::DeviceJudge: begin
        is_unified_d = 1'b0;
        state_d = is_unified_q && !is_suited ? plait_at_machine_pkg::DeviceBegin
                                             : plait_at_machine_pkg::DeviceDrain;
      end
      plait_at_machine_pkg::DeviceDrain: begin
        if (drained) state_d = plait_at_machine_pkg::DeviceFlush;
      end
      plait_at_machine_pkg::DeviceFlush: begin
        if (writer_idle) begin
          address_d = address_q + 32'd1 + descriptor_q.load_words;
          done_d    = descriptor_q.last;
          state_d   = descriptor_q.last ? plait_at_machine_pkg::DeviceIdle
                                        : plait_at_machine_pkg::DeviceFetch;
        end
      end
      default: state_d = plait_at_machine_pkg::DeviceIdle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q          <= plait_at_machine_pkg::DeviceIdle;
      done_q           <= 1'b0;
      bad_descriptor_q <= 1'b0;
    end else begin
      state_q          <= state_d;
      done_q           <= done_d;
      bad_descriptor_q <= bad_descriptor_d;
    end
  end

  always_ff @(posedge clk_i) begin
    descriptor_q <= descriptor_d;
    address_q    <= address_d;
    loaded_q     <= loaded_d;
    is_unified_q <= is_unified_d;
  end

  assign begin_tokens = state_q == plait_at_machine_pkg::DeviceBegin;
  assign state_o = state_q;
  assign busy_o = state_q != plait_at_machine_pkg::DeviceIdle;
  assign done_o = done_q;

  // ---- Queries and segments ---------------------------------------------------------------------
  logic                                                     is_loading;
  logic [QueryHeads-1:0][5:0]                               score_shifts_q;
  logic [QueryHeads*QueryWords-1:0][PortBits-1:0]           query_words_q;
  logic [QueryHeads-1:0][Steps*Lanes*QueryBits-1:0]         queries;
  logic [PortBits-1:0]                                      segment_words_q [SegmentWords];

  assign is_loading = state_q == plait_at_machine_pkg::DeviceLoad && word_valid;

  always_ff @(posedge clk_i) begin
    if (is_loading) begin
      for (int unsigned head = 0; head < QueryHeads; head++) begin
        if (loaded_q == '0) score_shifts_q[head] <= word_data[8*head +: 6];
      end
      for (int unsigned word = 0; word < QueryHeads * QueryWords; word++) begin
        if (loaded_q == 32'(word + 1)) query_words_q[word] <= word_data;
      end
      if (loaded_q >= 32'(QueryLoadWords)) begin
        segment_words_q[SegmentWordBits'(loaded_q - 32'(QueryLoadWords))] <= word_data;
      end
    end
  end

  for (genvar head = 0; head < QueryHeads; head++) begin : gen_query
    assign queries[head] = (Steps * Lanes * QueryBits)'(
        query_words_q[head*QueryWords +: QueryWords]);
  end

  // ---- Addresses and tokens ---------------------------------------------------------------------
  logic                tokens_job_valid, address_busy;
  logic [31:0]         tokens_job_address, tokens_job_words, segment_index;
  logic [63:0]         segment;
  logic                part_valid, part_ready, part_out_valid, part_out_ready;
  logic [PartBits-1:0] part_data, part_out_data;
  logic [PortBits-1:0] segment_word;

  logic [$clog2(PartBuffer+1)-1:0]  unused_parts_count;
  logic [$clog2(TokenBuffer+1)-1:0] unused_keys_count, unused_values_count;

  assign segment_word = segment_words_q[SegmentWordBits'(segment_index / 32'(SegmentsPerWord))];
  assign segment = segment_word[(segment_index % 32'(SegmentsPerWord))*64 +: 64];

  plait_at_address #(
    .ScalesPerWord(ScalesPerWord),
    .TokenWords   (2 * VectorWords)
  ) u_address (
    .clk_i,
    .rst_ni,
    .start_i        (begin_tokens),
    .segments_i     (descriptor_q.segments),
    .scale_address_i(descriptor_q.scale_address),
    .cache_address_i(descriptor_q.cache_address),
    .busy_o         (address_busy),
    .segment_index_o(segment_index),
    .segment_first_i(segment[31:0]),
    .segment_count_i(segment[63:32]),
    .job_valid_o    (tokens_job_valid),
    .job_ready_i    (job_ready),
    .job_address_o  (tokens_job_address),
    .job_words_o    (tokens_job_words),
    .part_valid_o   (part_valid),
    .part_ready_i   (part_ready),
    .part_data_o    (part_data)
  );

  plait_fifo #(
    .Width(PartBits),
    .Depth(PartBuffer)
  ) u_parts (
    .clk_i,
    .rst_ni,
    .in_valid_i (part_valid),
    .in_ready_o (part_ready),
    .in_data_i  (part_data),
    .out_valid_o(part_out_valid),
    .out_ready_i(part_out_ready),
    .out_data_o (part_out_data),
    .count_o    (unused_parts_count)
  );

  always_comb begin
    job_valid   = tokens_job_valid;
    job_address = tokens_job_address;
    job_words   = tokens_job_words;
    if (state_q == plait_at_machine_pkg::DeviceFetch) begin
      job_valid   = 1'b1;
      job_address = address_q;
      job_words   = 32'd1;
    end else if (state_q == plait_at_machine_pkg::DeviceAsk) begin
      job_valid   = 1'b1;
      job_address = address_q + 32'd1;
      job_words   = descriptor_q.load_words;
    end
  end

  logic                 unpack_ready, is_running;
  logic                 key_in_valid, key_in_ready, key_valid, key_ready;
  logic                 value_in_valid, value_in_ready, value_valid, value_ready;
  logic [TokenBits-1:0] key_in_data, key_data, value_in_data, value_data;

  assign is_running = state_q == plait_at_machine_pkg::DeviceRun;
  assign word_ready = is_running ? unpack_ready
                                 : state_q == plait_at_machine_pkg::DeviceDescriptor
                                   || state_q == plait_at_machine_pkg::DeviceLoad;

  plait_at_unpack #(
    .PortBits   (PortBits),
    .VectorWords(VectorWords)
  ) u_unpack (
    .clk_i,
    .rst_ni,
    .part_valid_i (part_out_valid),
    .part_ready_o (part_out_ready),
    .part_data_i  (part_out_data),
    .word_valid_i (word_valid && is_running),
    .word_ready_o (unpack_ready),
    .word_data_i  (word_data),
    .key_valid_o  (key_in_valid),
    .key_ready_i  (key_in_ready),
    .key_data_o   (key_in_data),
    .value_valid_o(value_in_valid),
    .value_ready_i(value_in_ready),
    .value_data_o (value_in_data)
  );

  plait_fifo #(
    .Width(TokenBits),
    .Depth(TokenBuffer)
  ) u_keys (
    .clk_i,
    .rst_ni,
    .in_valid_i (key_in_valid),
    .in_ready_o (key_in_ready),
    .in_data_i  (key_in_data),
    .out_valid_o(key_valid),
    .out_ready_i(key_ready),
    .out_data_o (key_data),
    .count_o    (unused_keys_count)
  );

  plait_fifo #(
    .Width(TokenBits),
    .Depth(TokenBuffer)
  ) u_values (
    .clk_i,
    .rst_ni,
    .in_valid_i (value_in_valid),
    .in_ready_o (value_in_ready),
    .in_data_i  (value_in_data),
    .out_valid_o(value_valid),
    .out_ready_i(value_ready),
    .out_data_o (value_data),
    .count_o    (unused_values_count)
  );

  // ---- The unit ---------------------------------------------------------------------------------
  logic                                                  issue, bad_scale, bad_scale_q;
  logic [StepBits-1:0]                                   drain_step_q;
  logic [QueryHeads-1:0][SumBits-1:0]                    sums;
  logic [QueryHeads-1:0][Lanes-1:0][AccumulatorBits-1:0] accumulators;

  plait_at_unit #(
    .QueryHeads(QueryHeads),
    .Lanes     (Lanes),
    .Steps     (Steps),
    .VectorBits(VectorBits)
  ) u_unit (
    .clk_i,
    .rst_ni,
    .clear_i       (begin_tokens),
    .queries_i     (queries),
    .score_shifts_i(score_shifts_q),
    .value_shift_i (descriptor_q.value_shift),
    .is_unified_i  (is_unified_q),
    .unified_i     (descriptor_q.maximum[ReferenceBits-1:0]),
    .key_valid_i   (key_valid),
    .key_ready_o   (key_ready),
    .key_data_i    (key_data),
    .value_valid_i (value_valid),
    .value_ready_o (value_ready),
    .value_data_i  (value_data),
    .issue_o       (issue),
    .keys_o        (keys),
    .tokens_o      (tokens),
    .bad_scale_o   (bad_scale),
    .references_o  (references),
    .largest_o     (largest),
    .sums_o        (sums),
    .read_step_i   (drain_step_q),
    .accumulators_o(accumulators)
  );

  // ---- Results: of each head a word {S, reference}, then rows of accumulators in 64 bits each --------
  logic [31:0]         drain_head_q, drain_piece_q;
  logic                is_header_q, is_drain_last, drain_ready, drain_taken;
  logic [PortBits-1:0] drain_data;
  logic [RowBits-1:0]  row;
  logic [63:0]         sum_field;
  logic [31:0]         reference_field;

  always_comb begin
    row = '0;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      row[64*lane +: 64] = 64'(signed'(accumulators[drain_head_q][lane]));
    end
    sum_field = 64'(sums[drain_head_q]);
    reference_field = 32'(signed'(references[drain_head_q]));
    if (is_empty) begin
      row = '0;
      sum_field = '0;
      reference_field = 32'(-(2 ** (ReferenceBits - 1)));  // below that of any score
    end
    drain_data = row[drain_piece_q*PortBits +: PortBits];
    if (is_header_q) drain_data = PortBits'({sum_field, 32'd0, reference_field});
  end

  assign drain_taken = state_q == plait_at_machine_pkg::DeviceDrain && drain_ready;
  assign is_drain_last = !is_header_q && drain_piece_q == LastPiece
      && drain_step_q == StepBits'(Steps - 1);
  assign drained = drain_taken && is_drain_last && drain_head_q == 32'(QueryHeads - 1);

  always_ff @(posedge clk_i) begin
    if (state_q != plait_at_machine_pkg::DeviceDrain) begin
      is_header_q   <= 1'b1;
      drain_head_q  <= '0;
      drain_step_q  <= '0;
      drain_piece_q <= '0;
    end else if (drain_ready) begin
      is_header_q <= is_drain_last;
      if (!is_header_q) drain_piece_q <= drain_piece_q == LastPiece ? '0 : drain_piece_q + 1'b1;
      if (!is_header_q && drain_piece_q == LastPiece) begin
        drain_step_q <= is_drain_last ? '0 : drain_step_q + 1'b1;
      end
      if (is_drain_last) drain_head_q <= drained ? '0 : drain_head_q + 1'b1;
    end
  end

  plait_bs_writer #(
    .PortBits(PortBits)
  ) u_writer (
    .clk_i,
    .rst_ni,
    .address_load_i(state_q == plait_at_machine_pkg::DeviceCheck),
    .address_i     (descriptor_q.result_address),
    .idle_o        (writer_idle),
    .word_valid_i  (state_q == plait_at_machine_pkg::DeviceDrain),
    .word_ready_o  (drain_ready),
    .word_data_i   (drain_data),
    .mem_write_valid_o,
    .mem_write_ready_i,
    .mem_write_address_o,
    .mem_write_data_o
  );

  // ---- What happened ----------------------------------------------------------------------------
  plait_at_machine_pkg::cause_e cause;
  logic                         issued_q;  // a step, since the tokens began

  always_comb begin
    unique case (state_q)
      plait_at_machine_pkg::DeviceAsk, plait_at_machine_pkg::DeviceLoad:
        cause = plait_at_machine_pkg::CauseLoad;
      plait_at_machine_pkg::DeviceBegin: cause = plait_at_machine_pkg::CauseFill;
      plait_at_machine_pkg::DeviceRun: begin
        cause = plait_at_machine_pkg::CauseMemoryStall;
        if (issue) cause = plait_at_machine_pkg::CauseCompute;
        else if (!issued_q) cause = plait_at_machine_pkg::CauseFill;
        else if (keys == descriptor_q.tokens) cause = plait_at_machine_pkg::CauseTail;
      end
      plait_at_machine_pkg::DeviceJudge: cause = plait_at_machine_pkg::CauseTail;
      plait_at_machine_pkg::DeviceDrain, plait_at_machine_pkg::DeviceFlush:
        cause = plait_at_machine_pkg::CauseDrain;
      default: cause = plait_at_machine_pkg::CauseDescriptor;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cycles_o    <= '0;
      counters_o  <= '0;
      bad_scale_q <= 1'b0;
    end else if (start_i) begin
      cycles_o    <= '0;
      counters_o  <= '0;
      bad_scale_q <= 1'b0;
    end else begin
      if (busy_o) begin
        cycles_o          <= cycles_o + 1'b1;
        counters_o[cause] <= counters_o[cause] + 1'b1;
      end
      bad_scale_q <= bad_scale_q || bad_scale;
    end
  end

  always_ff @(posedge clk_i) issued_q <= !begin_tokens && (issued_q || issue);

  assign error_o[plait_at_machine_pkg::ERROR_DESCRIPTOR] = bad_descriptor_q;
  assign error_o[plait_at_machine_pkg::ERROR_SCALE] = bad_scale_q;

  logic unused_bits;
  assign unused_bits = ^{descriptor_q.reserved_high, descriptor_q.reserved_low,
                         descriptor_q.maximum, address_busy};

  `PLAIT_ASSERT(a_addresses_rest, job_valid && !is_running |-> !tokens_job_valid)
  `PLAIT_ASSERT(a_start_while_idle, start_i |-> !busy_o)

endmodule
