// SPDX-License-Identifier: Apache-2.0
//
// plait_at_exp2: 2^difference for a fixed-point difference of at most 0: the integer part is a
// shift, the fraction a table with linear interpolation.
// Latency:      2 cycles.
// Throughput:   1 a cycle.
// Combinational paths from input to output: none.

module plait_at_exp2 (
  input  logic                                     clk_i,
  input  logic signed [plait_at_pkg::SCORE_BITS:0] difference_i,
  output logic [plait_at_pkg::FRACTION_BITS:0]     probability_o
);

  localparam int unsigned FractionBits = plait_at_pkg::SCORE_FRACTION_BITS;
  localparam int unsigned TableBits = plait_at_pkg::TABLE_BITS;
  localparam int unsigned LowBits = FractionBits - TableBits;
  localparam int unsigned EntryBits = plait_at_pkg::PROBABILITY_BITS + 1;
  localparam int unsigned StepBits = plait_at_pkg::STEP_BITS;
  localparam int unsigned IntegerBits = plait_at_pkg::SCORE_BITS + 1 - FractionBits;
  localparam int unsigned ResultBits = plait_at_pkg::FRACTION_BITS + 1;

  logic [TableBits-1:0]   index;
  logic [StepBits-1:0]    step, rise;
  logic [IntegerBits-1:0] fall;  // -floor(difference)
  logic [EntryBits-1:0]   value_q;
  logic [5:0]             fall_q;

  assign index = difference_i[FractionBits-1:LowBits];
  assign step = plait_at_pkg::exp2_step(index);
  assign fall = -difference_i[plait_at_pkg::SCORE_BITS:FractionBits];

  if (LowBits == 0) begin : gen_no_interpolation
    assign rise = '0;
    logic unused_step;
    assign unused_step = ^step;
  end else begin : gen_interpolation
    assign rise = StepBits'(((StepBits + LowBits)'(step)
        * (StepBits + LowBits)'(difference_i[LowBits-1:0])) >> LowBits);
  end

  // Between 1 and 2, then shifted: a fall of 63 or more leaves nothing.
  always_ff @(posedge clk_i) begin
    value_q       <= plait_at_pkg::exp2_base(index) + EntryBits'(rise);
    fall_q        <= 32'(fall) > 32'd63 ? 6'd63 : 6'(fall);
    probability_o <= (ResultBits'(value_q) << plait_at_pkg::GUARD_BITS) >> fall_q;
  end

endmodule
