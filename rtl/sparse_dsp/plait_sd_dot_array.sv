// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_dot_array: 16 INT32 sums for each of Rows rows, 32 weights a cycle for all rows.
// Latency:      operands to accumulators_o 3 cycles (plait_sd_machine_pkg::DOT_LATENCY).
// Throughput:   1 group of weights a cycle; a cycle without valid_i is a bubble.
// Combinational paths from input to output: none.
// The plain variant: products and sums as any synthesis maps them. A group gives 32 / n outputs the
// sums of n products each: outputs pass * 32 / n and following.

module plait_sd_dot_array #(
  parameter int unsigned Rows = 4,
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

  if (Rows == 0) begin : gen_check_rows
    $fatal(1, "plait_sd_dot_array: Rows must be at least 1");
  end

  logic       valid_q, valid_q2, first_q, first_q2;
  logic [4:0] kept_q, kept_q2;
  logic [2:0] pass_q, pass_q2;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q  <= 1'b0;
      valid_q2 <= 1'b0;
    end else begin
      valid_q  <= valid_i;
      valid_q2 <= valid_q;
    end
  end

  always_ff @(posedge clk_i) begin
    first_q  <= first_i;
    first_q2 <= first_q;
    kept_q   <= kept_i;
    kept_q2  <= kept_q;
    pass_q   <= pass_i;
    pass_q2  <= pass_q;
  end

  // ---- Operands, then products ------------------------------------------------------------------
  logic [Group-1:0][7:0]            weights_q;
  logic [Rows-1:0][Group-1:0][7:0]  chosen_q;
  logic [Rows-1:0][Group-1:0][15:0] products_q;

  always_ff @(posedge clk_i) begin
    weights_q <= weights_i;
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned i = 0; i < Group; i++) begin
        chosen_q[r][i]   <= window_i[r][places_i[i]];
        products_q[r][i] <= 16'(signed'(weights_q[i])) * 16'(signed'(chosen_q[r][i]));
      end
    end
  end

  // ---- Sums of 2, 4, 8 and 16 neighbours, added to their outputs --------------------------------
  logic [Rows-1:0][15:0][SumBits-1:0] twos;
  logic [Rows-1:0][7:0][SumBits-1:0]  fours;
  logic [Rows-1:0][3:0][SumBits-1:0]  eights;
  logic [Rows-1:0][1:0][SumBits-1:0]  sixteens;
  logic [Rows-1:0][Block-1:0][SumBits-1:0] added, accumulators_d, accumulators_q;

  always_comb begin
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned i = 0; i < 16; i++) begin
        twos[r][i] = SumBits'(signed'(products_q[r][2*i])) + SumBits'(signed'(products_q[r][2*i+1]));
      end
      for (int unsigned i = 0; i < 8; i++) fours[r][i] = twos[r][2*i] + twos[r][2*i+1];
      for (int unsigned i = 0; i < 4; i++) eights[r][i] = fours[r][2*i] + fours[r][2*i+1];
      for (int unsigned i = 0; i < 2; i++) sixteens[r][i] = eights[r][2*i] + eights[r][2*i+1];
    end
  end

  always_comb begin
    added = '0;
    for (int unsigned r = 0; r < Rows; r++) begin
      unique case (kept_q2)
        5'd2:    added[r] = twos[r];
        5'd4:    added[r][8*pass_q2[0] +: 8] = fours[r];
        5'd8:    added[r][4*pass_q2[1:0] +: 4] = eights[r];
        default: added[r][2*pass_q2 +: 2] = sixteens[r];
      endcase
    end
  end

  always_comb begin
    accumulators_d = accumulators_q;
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned o = 0; o < Block; o++) begin
        if (valid_q2) begin
          accumulators_d[r][o] = (first_q2 ? '0 : accumulators_q[r][o]) + added[r][o];
        end
      end
    end
  end

  always_ff @(posedge clk_i) accumulators_q <= accumulators_d;

  assign accumulators_o = accumulators_q;

endmodule
