// SPDX-License-Identifier: Apache-2.0
//
// plait_du_lookup_table: palette decoder: indices to values of a table in registers, which every
// lane reads by itself.
// Latency:      1 cycle; an entry written in a cycle is seen by the beats of the next.
// Throughput:   1 beat of WeightsPerCycle indices a cycle, and 1 entry written a cycle.
// Combinational paths from input to output: out_ready_i to in_ready_o.

`include "plait_assert.svh"

module plait_du_lookup_table #(
  parameter int unsigned Entries = 16,
  parameter int unsigned ValueBits = 16,
  parameter int unsigned WeightsPerCycle = 16,
  localparam int unsigned IndexBits = Entries > 1 ? $clog2(Entries) : 1
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                 write_enable_i,
  input  logic [IndexBits-1:0] write_address_i,
  input  logic [ValueBits-1:0] write_data_i,

  input  logic                                      in_valid_i,
  output logic                                      in_ready_o,
  input  logic [WeightsPerCycle-1:0][IndexBits-1:0] in_data_i,

  output logic                                      out_valid_o,
  input  logic                                      out_ready_i,
  output logic [WeightsPerCycle-1:0][ValueBits-1:0] out_data_o
);

  if (Entries == 0 || ValueBits == 0 || WeightsPerCycle == 0) begin : gen_check
    $fatal(1, "plait_du_lookup_table: Entries, ValueBits, WeightsPerCycle must be at least 1");
  end

  logic [Entries-1:0][ValueBits-1:0]         entries_q;
  logic [WeightsPerCycle-1:0][ValueBits-1:0] values_d, values_q;
  logic                                      out_valid_q;
  logic                                      advance;  // nothing moves while a beat waits

  assign advance    = !out_valid_q || out_ready_i;
  assign in_ready_o = advance;

  always_comb begin
    for (int unsigned lane = 0; lane < WeightsPerCycle; lane++) begin
      values_d[lane] = entries_q[in_data_i[lane]];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) out_valid_q <= 1'b0;
    else if (advance) out_valid_q <= in_valid_i;
  end

  always_ff @(posedge clk_i) begin
    if (write_enable_i) entries_q[write_address_i] <= write_data_i;
    if (advance) values_q <= values_d;
  end

  assign out_valid_o = out_valid_q;
  assign out_data_o  = values_q;

  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
