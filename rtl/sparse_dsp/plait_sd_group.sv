// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_group: DSP group, two DSPs in a fixed cascade and the reduction node behind them.
// Latency:      operands to cascade_o Skew + 5 cycles, to high_o and low_o Skew + 6 + Deskew.
// Throughput:   2 weights a cycle.
// Combinational paths from input to output: none.
// Skew:         cycles the operands wait for the groups in front of this one in the cascade.
// restart_i:    the group begins a sum of its own instead of adding to the cascade.

module plait_sd_group #(
  parameter int unsigned Skew = 0,
  parameter int unsigned Deskew = 0,
  parameter int unsigned Shift = 18,
  parameter bit          Dsp48e2 = 1'b0,
  localparam int unsigned Cells = 2,
  localparam int unsigned CascadeBits = 48,
  localparam int unsigned LaneBits = Shift + 1
) (
  input  logic                       clk_i,
  input  logic [Cells-1:0][7:0]      weights_i,
  input  logic [Cells-1:0][7:0]      highs_i,
  input  logic [Cells-1:0][7:0]      lows_i,
  input  logic                       restart_i,
  input  logic [CascadeBits-1:0]     cascade_i,
  output logic [CascadeBits-1:0]     cascade_o,
  output logic signed [LaneBits-1:0] high_o,
  output logic signed [LaneBits-1:0] low_o
);

  localparam int unsigned OperandBits = 3 * 8 + 1;

  logic [Cells-1:0][CascadeBits-1:0] sums;

  for (genvar i = 0; i < Cells; i++) begin : gen_cell
    logic [7:0] weight, high, low;
    logic       restart;
    // A signal a cell: in one vector, simulators would see a loop.
    logic [CascadeBits-1:0] cascade_in, cascade_out;

    if (i == 0) begin : gen_first
      assign cascade_in = cascade_i;
    end else begin : gen_next
      assign cascade_in = gen_cell[i-1].cascade_out;
    end

    // Each cell of a cascade adds a cycle behind the one before.
    plait_delay #(
      .Width (OperandBits),
      .Cycles(Skew + i)
    ) u_skew (
      .clk_i,
      .data_i({weights_i[i], highs_i[i], lows_i[i], i == 0 && restart_i}),
      .data_o({weight, high, low, restart})
    );

    plait_sd_dsp #(
      .Shift  (Shift),
      .Dsp48e2(Dsp48e2)
    ) u_dsp (
      .clk_i,
      .weight_i (weight),
      .high_i   (high),
      .low_i    (low),
      .restart_i(restart),
      .cascade_i(cascade_in),
      .cascade_o(cascade_out),
      .sum_o    (sums[i])
    );
  end

  assign cascade_o = gen_cell[Cells-1].cascade_out;

  plait_sd_reduce #(
    .Shift (Shift),
    .Cycles(Deskew)
  ) u_reduce (
    .clk_i,
    .sum_i (sums[Cells-1]),
    .high_o(high_o),
    .low_o (low_o)
  );

  logic unused_sum;
  assign unused_sum = ^sums[0];

endmodule
