// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_reduce: reduction node: takes a cascade's sum apart into its two lanes.
// Latency:      1 + Cycles cycles.
// Throughput:   1 sum a cycle.
// Combinational paths from input to output: none.
//
// The low lane is Shift bits wide and signed; a negative one has borrowed 1 from the high lane.
// Overflow adjustment: eight products of 8 x 8 bits lie between -130048 and +131072, one more than
// the 18 bits of a lane hold. The pattern of that one, -131072, no sum has: it means +131072, and
// nothing was borrowed. So the sums of up to eight products are exact for all weights and
// activations, and with weights of 4 bits those of up to 128.

module plait_sd_reduce #(
  parameter int unsigned Shift = 18,
  parameter int unsigned Cycles = 0,
  localparam int unsigned CascadeBits = 48,
  localparam int unsigned LaneBits = Shift + 1
) (
  input  logic                       clk_i,
  input  logic [CascadeBits-1:0]     sum_i,
  output logic signed [LaneBits-1:0] high_o,
  output logic signed [LaneBits-1:0] low_o
);

  if (2 * Shift + 1 > CascadeBits) begin : gen_check_shift
    $fatal(1, "plait_sd_reduce: two lanes of Shift + 1 bits do not fit a sum");
  end

  logic                is_negative;
  logic [LaneBits-1:0] high_q, low_q;

  assign is_negative = sum_i[Shift-1] && sum_i[Shift-2:0] != '0;

  always_ff @(posedge clk_i) begin
    low_q  <= {is_negative, sum_i[Shift-1:0]};
    high_q <= sum_i[Shift +: LaneBits] + LaneBits'(is_negative);
  end

  plait_delay #(
    .Width (2 * LaneBits),
    .Cycles(Cycles)
  ) u_deskew (
    .clk_i,
    .data_i({high_q, low_q}),
    .data_o({high_o, low_o})
  );

  logic unused_bits;
  assign unused_bits = ^sum_i[CascadeBits-1:Shift+LaneBits];

endmodule
