// SPDX-License-Identifier: Apache-2.0
//
// plait_at_unit: keys and values of one KV head in, partial results of its query heads in registers:
// dot products, scores, exponentials and accumulators of QueryHeads at once.
// Latency:      Steps + 7 cycles from the first step of a key to the first of its value, 4 more from
//               a step of a value to the accumulators.
// Throughput:   1 token in Steps cycles, keys ahead of values.
// Combinational paths from input to output: key_valid_i to key_ready_o and issue_o, value_valid_i to
//               value_ready_o, read_step_i to accumulators_o.

`include "plait_assert.svh"

module plait_at_unit #(
  parameter int unsigned QueryHeads = 4,
  parameter int unsigned Lanes = 16,
  parameter int unsigned Steps = 4,
  parameter int unsigned VectorBits = 512,
  localparam int unsigned StepBits = Steps > 1 ? $clog2(Steps) : 1,
  localparam int unsigned QueryBits = Steps * Lanes * plait_at_pkg::QUERY_BITS,
  localparam int unsigned AccumulatorBits = plait_at_pkg::ACCUMULATOR_BITS
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                           clear_i,  // a job begins
  input  logic [QueryHeads-1:0][QueryBits-1:0]           queries_i,  // hold during the job, as do
  input  logic [QueryHeads-1:0][5:0]                     score_shifts_i,
  input  logic [5:0]                                     value_shift_i,
  input  logic                                           is_unified_i,
  input  logic signed [plait_at_pkg::REFERENCE_BITS-1:0] unified_i,

  input  logic                   key_valid_i,
  output logic                   key_ready_o,
  input  logic [VectorBits+15:0] key_data_i,  // {scale, vector}, zeros beyond the head

  input  logic                   value_valid_i,
  output logic                   value_ready_o,
  input  logic [VectorBits+15:0] value_data_i,

  output logic        issue_o,        // a step of a key begins
  output logic [31:0] keys_o,         // of the job, taken
  output logic [31:0] tokens_o,       // of the job, in the accumulators
  output logic        bad_scale_o,

  output logic [QueryHeads-1:0][plait_at_pkg::REFERENCE_BITS-1:0] references_o,
  output logic [QueryHeads-1:0][plait_at_pkg::REFERENCE_BITS-1:0] largest_o,
  output logic [QueryHeads-1:0][plait_at_pkg::SUM_BITS-1:0]       sums_o,
  input  logic [StepBits-1:0]                                     read_step_i,
  output logic [QueryHeads-1:0][Lanes-1:0][AccumulatorBits-1:0]   accumulators_o
);

  localparam int unsigned ValueBits = plait_at_pkg::VALUE_BITS;
  localparam int unsigned PaddedBits = Steps * Lanes * ValueBits;
  localparam int unsigned DotBits =
      plait_at_pkg::QUERY_BITS + ValueBits + $clog2(Lanes * Steps);
  localparam int unsigned ProbabilityBits = plait_at_pkg::FRACTION_BITS + 1;
  // A key is at most one token ahead of the values that have come, and those wait in a buffer of 8.
  localparam int unsigned WaitingTokens = 16;
  localparam logic [StepBits-1:0] LastStep = StepBits'(Steps - 1);

  if (QueryHeads == 0) begin : gen_check_heads
    $fatal(1, "plait_at_unit: QueryHeads must be at least 1");
  end

  // ---- Keys -------------------------------------------------------------------------------------
  logic [StepBits-1:0]   key_step_q;
  logic                  key_last, is_first_key_q;
  logic [PaddedBits-1:0] key;
  logic [15:0]           key_scale_q, key_scale_q2;
  logic                  first_q, first_q2;

  assign key_last = key_step_q == LastStep;
  assign key_ready_o = key_last && key_valid_i;
  assign issue_o = key_valid_i;
  assign key = PaddedBits'(key_data_i[VectorBits-1:0]);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      key_step_q <= '0;
    end else if (key_valid_i) begin
      key_step_q <= key_last ? '0 : key_step_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (clear_i) begin
      is_first_key_q <= 1'b1;
      keys_o         <= '0;
    end else if (key_ready_o) begin
      is_first_key_q <= 1'b0;
      keys_o         <= keys_o + 1'b1;
    end
    key_scale_q  <= key_data_i[VectorBits +: 16];
    key_scale_q2 <= key_scale_q;
    first_q      <= is_first_key_q;
    first_q2     <= first_q;
  end

  // ---- Probabilities of all heads -----------------------------------------------------------------
  logic [QueryHeads-1:0]                      score_valid, score_first;
  logic [QueryHeads-1:0][5:0]                 change, change_q, change_q2;
  logic [QueryHeads-1:0][ProbabilityBits-1:0] probabilities;
  logic                                       score_valid_q, score_valid_q2;
  logic                                       score_first_q, score_first_q2;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      score_valid_q  <= 1'b0;
      score_valid_q2 <= 1'b0;
    end else begin
      score_valid_q  <= score_valid[0];
      score_valid_q2 <= score_valid_q;
    end
  end

  always_ff @(posedge clk_i) begin
    score_first_q  <= score_first[0];
    score_first_q2 <= score_first_q;
    change_q       <= change;
    change_q2      <= change_q;
  end

  logic                                                            waiting_ready, waiting_valid;
  logic                                                            value_first;
  logic [$clog2(WaitingTokens+1)-1:0]                              unused_count;
  logic [QueryHeads-1:0][5:0]                                      value_change;
  logic [QueryHeads-1:0][ProbabilityBits-1:0]                      value_probability;
  logic                                                            value_issue, value_last;

  plait_fifo #(
    .Width(1 + QueryHeads * (6 + ProbabilityBits)),
    .Depth(WaitingTokens)
  ) u_waiting (
    .clk_i,
    .rst_ni,
    .in_valid_i (score_valid_q2),
    .in_ready_o (waiting_ready),
    .in_data_i  ({score_first_q2, change_q2, probabilities}),
    .out_valid_o(waiting_valid),
    .out_ready_i(value_issue && value_last),
    .out_data_o ({value_first, value_change, value_probability}),
    .count_o    (unused_count)
  );

  // ---- Values -----------------------------------------------------------------------------------
  logic [StepBits-1:0]      value_step_q;
  logic [PaddedBits-1:0]    value;
  logic [Lanes*ValueBits-1:0] value_part;
  logic [15:0]              value_scale;
  logic [QueryHeads-1:0]    bad_scale;
  logic [3:1]               finished_q;

  assign value_issue = value_valid_i && waiting_valid;
  assign value_last = value_step_q == LastStep;
  assign value_ready_o = value_issue && value_last;
  assign value = PaddedBits'(value_data_i[VectorBits-1:0]);
  assign value_part = value[32'(value_step_q)*Lanes*ValueBits +: Lanes*ValueBits];
  assign value_scale = value_data_i[VectorBits +: 16];
  assign bad_scale_o = |bad_scale;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      value_step_q <= '0;
      finished_q   <= '0;
    end else begin
      finished_q <= {finished_q[2:1], value_ready_o};
      if (value_issue) value_step_q <= value_last ? '0 : value_step_q + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (clear_i) tokens_o <= '0;
    else if (finished_q[3]) tokens_o <= tokens_o + 1'b1;
  end

  // ---- Query heads ------------------------------------------------------------------------------
  logic [Lanes*ValueBits-1:0] key_part;
  assign key_part = key[32'(key_step_q)*Lanes*ValueBits +: Lanes*ValueBits];

  for (genvar head = 0; head < QueryHeads; head++) begin : gen_head
    logic                                            dot_valid;
    logic signed [DotBits-1:0]                       dot;
    logic signed [plait_at_pkg::SCORE_BITS:0]        difference;
    logic [Lanes*plait_at_pkg::QUERY_BITS-1:0]       query_part;

    assign query_part = queries_i[head][32'(key_step_q)*Lanes*plait_at_pkg::QUERY_BITS
                                        +: Lanes*plait_at_pkg::QUERY_BITS];

    plait_at_dot #(
      .Lanes(Lanes),
      .Steps(Steps)
    ) u_dot (
      .clk_i,
      .rst_ni,
      .valid_i    (key_valid_i),
      .first_i    (key_step_q == '0),
      .last_i     (key_last),
      .query_i    (query_part),
      .key_i      (key_part),
      .dot_valid_o(dot_valid),
      .dot_o      (dot)
    );

    plait_at_score #(
      .DotBits(DotBits)
    ) u_score (
      .clk_i,
      .rst_ni,
      .is_unified_i,
      .unified_i,
      .score_shift_i(score_shifts_i[head]),
      .valid_i      (dot_valid),
      .first_i      (first_q2),
      .dot_i        (dot),
      .scale_i      (key_scale_q2),
      .valid_o      (score_valid[head]),
      .first_o      (score_first[head]),
      .difference_o (difference),
      .change_o     (change[head]),
      .reference_o  (references_o[head]),
      .largest_o    (largest_o[head])
    );

    plait_at_exp2 u_exp2 (
      .clk_i,
      .difference_i (difference),
      .probability_o(probabilities[head])
    );

    plait_at_accumulate #(
      .Lanes(Lanes),
      .Steps(Steps)
    ) u_accumulate (
      .clk_i,
      .rst_ni,
      .valid_i       (value_issue),
      .step_i        (value_step_q),
      .first_i       (value_first),
      .change_i      (value_change[head]),
      .probability_i (value_probability[head]),
      .scale_i       (value_scale),
      .value_shift_i,
      .values_i      (value_part),
      .read_step_i,
      .accumulators_o(accumulators_o[head]),
      .sum_o         (sums_o[head]),
      .bad_scale_o   (bad_scale[head])
    );
  end

  logic unused_marks;
  assign unused_marks = ^{score_valid, score_first};

  `PLAIT_ASSERT(a_probability_has_room, score_valid_q2 |-> waiting_ready)

endmodule
