// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_dot_array: 16 INT32 sums for each of Rows rows, 32 weights a cycle for all rows, in chains
// of 16 DSPs.
// Latency:      operands to accumulators_o plait_sd_machine_pkg::DOT_LATENCY cycles: multiplexer 1,
//               chain 12, halves joined 1, accumulator 1.
// Throughput:   1 group of weights a cycle; a cycle without valid_i is a bubble.
// Combinational paths from input to output: none.
// Dsp48e2:      1 instantiates the primitive of Xilinx UltraScale+, 0 is for any device.
//
// Two rows share two chains: a DSP multiplies its weight by the activations of both. A group of 32
// weights gives 32 / n outputs the sums of n products each: outputs pass * 32 / n and following.

`include "plait_assert.svh"

module plait_sd_dot_array #(
  parameter int unsigned Rows = 4,
  parameter bit          Dsp48e2 = 1'b0,
  localparam int unsigned Group = 32,
  localparam int unsigned Block = 16,
  localparam int unsigned SumBits = 32
) (
  input  logic                                       clk_i,
  input  logic                                       rst_ni,

  input  logic                                       valid_i,
  input  logic                                       first_i,   // group of a sum: clear what was there
  input  logic [4:0]                                 kept_i,    // n
  input  logic [2:0]                                 pass_i,    // of the block
  input  logic [Group-1:0][7:0]                      weights_i,
  input  logic [Group-1:0][3:0]                      places_i,
  input  logic [Rows-1:0][Block-1:0][7:0]            window_i,  // activations of the block
  output logic [Rows-1:0][Block-1:0][SumBits-1:0]    accumulators_o
);

  localparam int unsigned Pairs = (Rows + 1) / 2;
  localparam int unsigned Chains = Group / Block;  // of a pair
  localparam int unsigned Groups = Block / 2;      // of DSPs, of a chain
  localparam int unsigned Cascade = 8;
  localparam int unsigned LaneBits = 19;
  localparam int unsigned Latency = 1 + (Cascade + 4) + 1 + 1;

  if (Rows == 0) begin : gen_check_rows
    $fatal(1, "plait_sd_dot_array: Rows must be at least 1");
  end
  if (Latency != plait_sd_machine_pkg::DOT_LATENCY) begin : gen_check_latency
    $fatal(1, "plait_sd_dot_array: DOT_LATENCY of plait_sd_machine_pkg is not that of the chains");
  end

  // ---- What arrives with the sums at the accumulators --------------------------------------------
  logic [Latency-2:0] valid_q;
  logic               first_last;
  logic [4:0]         kept_last;
  logic [2:0]         pass_last;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[Latency-3:0], valid_i};
  end

  plait_delay #(
    .Width ($bits({first_i, kept_i, pass_i})),
    .Cycles(Latency - 1)
  ) u_marks (
    .clk_i,
    .data_i({first_i, kept_i, pass_i}),
    .data_o({first_last, kept_last, pass_last})
  );

  // ---- Which groups of DSPs begin a sum: every n-th DSP, and the second half of a chain ----------
  logic [Groups-1:0] restarts_q;

  always_ff @(posedge clk_i) begin
    unique case (kept_i)
      5'd2:    restarts_q <= 8'b1111_1111;
      5'd4:    restarts_q <= 8'b0101_0101;
      default: restarts_q <= 8'b0001_0001;
    endcase
  end

  // ---- Chains: of two rows each; without a row for the last ones, the high lane is idle ----------
  logic [2*Pairs-1:0][Block-1:0][7:0]                       window;
  logic [Group-1:0][7:0]                                    weights_q;
  logic [2*Pairs-1:0][Group-1:0][7:0]                       chosen_q;
  logic [2*Pairs-1:0][Chains-1:0][Groups-1:0][LaneBits-1:0] sums, sums_q;

  assign window = (2*Pairs*Block*8)'(window_i);

  always_ff @(posedge clk_i) weights_q <= weights_i;

  for (genvar p = 0; p < Pairs; p++) begin : gen_pair
    for (genvar i = 0; i < Group; i++) begin : gen_mux
      plait_sd_mux u_mux (
        .clk_i,
        .place_i(places_i[i]),
        .high_i (window[2*p+1]),
        .low_i  (window[2*p]),
        .high_o (chosen_q[2*p+1][i]),
        .low_o  (chosen_q[2*p][i])
      );
    end

    for (genvar c = 0; c < Chains; c++) begin : gen_chain
      plait_sd_chain #(
        .Dsps   (Block),
        .Cascade(Cascade),
        .Shift  (LaneBits - 1),
        .Dsp48e2(Dsp48e2)
      ) u_chain (
        .clk_i,
        .weights_i (weights_q[c*Block +: Block]),
        .highs_i   (chosen_q[2*p+1][c*Block +: Block]),
        .lows_i    (chosen_q[2*p][c*Block +: Block]),
        .restarts_i(restarts_q),
        .highs_o   (sums[2*p+1][c]),
        .lows_o    (sums[2*p][c])
      );
    end
  end

  // ---- Both halves of a chain give the sum of 16 products ----------------------------------------
  logic [2*Pairs-1:0][Chains-1:0][LaneBits:0] joined_q;

  always_ff @(posedge clk_i) begin
    sums_q <= sums;
    for (int unsigned r = 0; r < 2 * Pairs; r++) begin
      for (int unsigned c = 0; c < Chains; c++) begin
        joined_q[r][c] <= (LaneBits+1)'(signed'(sums[r][c][Groups/2-1]))
                        + (LaneBits+1)'(signed'(sums[r][c][Groups-1]));
      end
    end
  end

  // ---- Sums to their outputs ---------------------------------------------------------------------
  logic [Rows-1:0][Block-1:0][SumBits-1:0] added, accumulators_q;

  always_comb begin
    added = '0;
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned o = 0; o < Block; o++) begin
        unique case (kept_last)
          5'd2: added[r][o] = SumBits'(signed'(sums_q[r][o/8][o%8]));
          5'd4: if (pass_last[0] == 1'(o / 8)) begin
            added[r][o] = SumBits'(signed'(sums_q[r][o%8/4][2*(o%4)+1]));
          end
          5'd8: if (pass_last[1:0] == 2'(o / 4)) begin
            added[r][o] = SumBits'(signed'(sums_q[r][o%4/2][4*(o%2)+3]));
          end
          default: if (pass_last == 3'(o / 2)) begin
            added[r][o] = SumBits'(signed'(joined_q[r][o%2]));
          end
        endcase
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[Latency-2]) begin
      for (int unsigned r = 0; r < Rows; r++) begin
        for (int unsigned o = 0; o < Block; o++) begin
          accumulators_q[r][o] <= (first_last ? '0 : accumulators_q[r][o]) + added[r][o];
        end
      end
    end
  end

  assign accumulators_o = accumulators_q;

  if (2 * Pairs > Rows) begin : gen_odd
    logic unused_row;
    assign unused_row = ^{sums_q[2*Pairs-1], joined_q[2*Pairs-1]};
  end

  `PLAIT_ASSERT(a_kept_exists, valid_i |-> kept_i == 5'd2 || kept_i == 5'd4 || kept_i == 5'd8
                                        || kept_i == 5'd16)

endmodule
