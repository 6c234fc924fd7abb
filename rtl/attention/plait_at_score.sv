// SPDX-License-Identifier: Apache-2.0
//
// plait_at_score: a dot product times its token's scale as a fixed-point score, and the integer
// reference that runs along: the ceiling of the largest score so far, or a unified one.
// Latency:      3 cycles.
// Throughput:   1 score a cycle.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_at_score #(
  parameter int unsigned DotBits = 30
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                           is_unified_i,  // hold during a job
  input  logic signed [plait_at_pkg::REFERENCE_BITS-1:0] unified_i,     // likewise
  input  logic        [5:0]                              score_shift_i, // likewise; 30 to 63

  input  logic                      valid_i,
  input  logic                      first_i,  // token of its job
  input  logic signed [DotBits-1:0] dot_i,
  input  logic        [15:0]        scale_i,  // FP16, finite, positive

  output logic                                           valid_o,
  output logic                                           first_o,
  output logic signed [plait_at_pkg::SCORE_BITS:0]       difference_o,  // score - reference, <= 0
  output logic        [5:0]                              change_o,  // of the reference, 63 or more is 63
  output logic signed [plait_at_pkg::REFERENCE_BITS-1:0] reference_o,   // holds
  output logic signed [plait_at_pkg::REFERENCE_BITS-1:0] largest_o      // ceiling so far; holds
);

  localparam int unsigned FractionBits = plait_at_pkg::SCORE_FRACTION_BITS;
  localparam int unsigned ScoreBits = plait_at_pkg::SCORE_BITS;
  localparam int unsigned ReferenceBits = plait_at_pkg::REFERENCE_BITS;
  localparam int unsigned ProductBits = DotBits + 12;  // a mantissa of 11 bits and its sign
  localparam int unsigned WideBits = ProductBits + plait_at_pkg::SCALE_HEADROOM;
  localparam logic signed [ScoreBits-1:0] Most = {1'b0, {(ScoreBits - 1) {1'b1}}};
  localparam logic signed [ScoreBits-1:0] Least = {1'b1, {(ScoreBits - 1) {1'b0}}};

  if (WideBits <= ScoreBits) begin : gen_check
    $fatal(1, "plait_at_score: the score is wider than the product");
  end

  // ---- Product ----------------------------------------------------------------------------------
  logic                          is_normal;
  logic signed [11:0]            mantissa;
  logic        [4:0]             exponent;
  logic signed [ProductBits-1:0] product_q;
  logic        [5:0]             count_q;
  logic                          valid_q, first_q;

  assign is_normal = scale_i[14:10] != '0;
  assign mantissa  = {1'b0, is_normal, scale_i[9:0]};
  assign exponent  = is_normal ? scale_i[14:10] : 5'd1;

  logic unused_sign;
  assign unused_sign = scale_i[15];

  // ---- Score ------------------------------------------------------------------------------------
  logic signed [WideBits-1:0]  shifted;
  logic signed [ScoreBits-1:0] score, score_q;
  logic                        valid_q2, first_q2;

  assign shifted = (WideBits'(product_q) <<< plait_at_pkg::SCALE_HEADROOM) >>> count_q;

  always_comb begin
    score = shifted[ScoreBits-1:0];
    if (shifted > WideBits'(Most)) score = Most;
    if (shifted < WideBits'(Least)) score = Least;
  end

  // ---- Reference --------------------------------------------------------------------------------
  logic signed [ReferenceBits-1:0] ceiling, largest, largest_q, reference, reference_q;
  logic        [ReferenceBits-1:0] rise;
  logic signed [ScoreBits:0]       difference, difference_q;
  logic        [5:0]               change_q;
  logic                            valid_q3, first_q3;

  assign ceiling = ReferenceBits'(score_q >>> FractionBits)
      + ReferenceBits'(|score_q[FractionBits-1:0]);
  assign largest = first_q2 || ceiling > largest_q ? ceiling : largest_q;
  assign reference = is_unified_i ? unified_i : largest;
  assign rise = first_q2 || is_unified_i ? '0 : reference - reference_q;
  assign difference = (ScoreBits + 1)'(score_q)
      - ((ScoreBits + 1)'(reference) <<< FractionBits);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q  <= 1'b0;
      valid_q2 <= 1'b0;
      valid_q3 <= 1'b0;
    end else begin
      valid_q  <= valid_i;
      valid_q2 <= valid_q;
      valid_q3 <= valid_q2;
    end
  end

  always_ff @(posedge clk_i) begin
    first_q   <= first_i;
    first_q2  <= first_q;
    first_q3  <= first_q2;
    product_q <= ProductBits'(dot_i) * ProductBits'(mantissa);
    count_q   <= score_shift_i - 6'(exponent);
    score_q   <= score;
    if (valid_q2) begin
      largest_q   <= largest;
      reference_q <= reference;
    end
    change_q     <= 32'(rise) > 32'd63 ? 6'd63 : 6'(rise);
    // Above a unified maximum the job is taken again: any value will do.
    difference_q <= difference > 0 ? '0 : difference;
  end

  assign valid_o      = valid_q3;
  assign first_o      = first_q3;
  assign difference_o = difference_q;
  assign change_o     = change_q;
  assign reference_o  = reference_q;
  assign largest_o    = largest_q;

  `PLAIT_ASSERT(a_shift_covers_exponents, valid_i |-> score_shift_i >= 6'd30)

endmodule
