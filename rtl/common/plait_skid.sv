// SPDX-License-Identifier: Apache-2.0
//
// plait_skid: two-entry buffer that registers both directions of a handshake.
// Latency:      1 cycle.
// Throughput:   1 item a cycle.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_skid #(
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             in_valid_i,
  output logic             in_ready_o,
  input  logic [Width-1:0] in_data_i,

  output logic             out_valid_o,
  input  logic             out_ready_i,
  output logic [Width-1:0] out_data_o
);

  if (Width == 0) begin : gen_check_width
    $fatal(1, "plait_skid: Width must be at least 1");
  end

  logic             out_valid_d, out_valid_q;
  logic             skid_valid_d, skid_valid_q;
  logic [Width-1:0] out_data_d, out_data_q;
  logic [Width-1:0] skid_data_d, skid_data_q;
  logic             take;

  assign in_ready_o  = ~skid_valid_q;
  assign out_valid_o = out_valid_q;
  assign out_data_o  = out_data_q;
  assign take        = in_valid_i & in_ready_o;

  always_comb begin
    out_valid_d  = out_valid_q;
    out_data_d   = out_data_q;
    skid_valid_d = skid_valid_q;
    skid_data_d  = skid_data_q;
    if (!out_valid_q || out_ready_i) begin
      out_valid_d  = skid_valid_q | take;
      out_data_d   = skid_valid_q ? skid_data_q : in_data_i;
      skid_valid_d = 1'b0;
    end else if (take) begin
      skid_valid_d = 1'b1;
      skid_data_d  = in_data_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      out_valid_q  <= 1'b0;
      skid_valid_q <= 1'b0;
    end else begin
      out_valid_q  <= out_valid_d;
      skid_valid_q <= skid_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    out_data_q  <= out_data_d;
    skid_data_q <= skid_data_d;
  end

  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
