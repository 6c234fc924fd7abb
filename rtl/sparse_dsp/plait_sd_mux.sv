// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_mux: sparse multiplexer of a DSP: the activations of two rows that its weight meets.
// Latency:      1 cycle.
// Throughput:   1 choice a cycle.
// Combinational paths from input to output: none.

module plait_sd_mux #(
  localparam int unsigned Block = 16
) (
  input  logic                  clk_i,
  input  logic [3:0]            place_i,  // of the weight in its block of inputs
  input  logic [Block-1:0][7:0] high_i,
  input  logic [Block-1:0][7:0] low_i,
  output logic [7:0]            high_o,
  output logic [7:0]            low_o
);

  logic [7:0] high_q, low_q;

  always_ff @(posedge clk_i) begin
    high_q <= high_i[place_i];
    low_q  <= low_i[place_i];
  end

  assign high_o = high_q;
  assign low_o  = low_q;

endmodule
