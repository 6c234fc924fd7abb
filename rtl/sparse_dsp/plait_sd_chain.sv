// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_chain: chain of DSPs: one or several dot products of two rows of activations.
// Latency:      operands to sums Cascade + 4 cycles, alike for all groups.
// Throughput:   Dsps weights a cycle.
// Combinational paths from input to output: none.
//
// Two DSPs are a group. restarts_i says which groups begin a sum; every group gives the sum since
// then, so a group in front of a restart, and the last, give the dot products. A cascade is Cascade
// DSPs long, then the next begins: sums of more than eight products of 8 x 8 bits do not fit a lane,
// and groups that need not wait for each other give their sums the sooner.

module plait_sd_chain #(
  parameter int unsigned Dsps = 16,
  parameter int unsigned Cascade = 8,
  parameter int unsigned Shift = 18,
  parameter bit          Dsp48e2 = 1'b0,
  localparam int unsigned Groups = Dsps / 2,
  localparam int unsigned LaneBits = Shift + 1
) (
  input  logic                            clk_i,
  input  logic [Dsps-1:0][7:0]            weights_i,
  input  logic [Dsps-1:0][7:0]            highs_i,
  input  logic [Dsps-1:0][7:0]            lows_i,
  input  logic [Groups-1:0]               restarts_i,  // that of a cascade's first group is implied
  output logic [Groups-1:0][LaneBits-1:0] highs_o,
  output logic [Groups-1:0][LaneBits-1:0] lows_o
);

  if (Cascade == 0 || Cascade % 2 != 0 || Dsps == 0 || Dsps % Cascade != 0) begin : gen_check_sizes
    $fatal(1, "plait_sd_chain: Cascade must be even and divide Dsps");
  end

  localparam int unsigned CascadeBits = 48;

  for (genvar g = 0; g < Groups; g++) begin : gen_group
    localparam int unsigned Skew = 2 * g % Cascade;
    // A signal a group: in one vector, simulators would see a loop.
    logic [CascadeBits-1:0] cascade_in, cascade_out;

    if (Skew == 0) begin : gen_first
      assign cascade_in = '0;
    end else begin : gen_next
      assign cascade_in = gen_group[g-1].cascade_out;
    end

    plait_sd_group #(
      .Skew   (Skew),
      .Deskew (Cascade - 2 - Skew),
      .Shift  (Shift),
      .Dsp48e2(Dsp48e2)
    ) u_group (
      .clk_i,
      .weights_i(weights_i[2*g +: 2]),
      .highs_i  (highs_i[2*g +: 2]),
      .lows_i   (lows_i[2*g +: 2]),
      .restart_i(Skew == 0 || restarts_i[g]),
      .cascade_i(cascade_in),
      .cascade_o(cascade_out),
      .high_o   (highs_o[g]),
      .low_o    (lows_o[g])
    );

    logic unused_cascade;  // of the last group of a cascade
    assign unused_cascade = ^cascade_out;
  end

endmodule
