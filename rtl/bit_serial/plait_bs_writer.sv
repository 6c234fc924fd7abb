// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_writer: writes a stream of words to consecutive addresses through the memory port.
// Latency:      1 cycle from the word stream to the port.
// Throughput:   1 word a cycle.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_bs_writer #(
  parameter int unsigned PortBits = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic        address_load_i,  // only while idle
  input  logic [31:0] address_i,
  output logic        idle_o,          // no word inside

  input  logic                word_valid_i,
  output logic                word_ready_o,
  input  logic [PortBits-1:0] word_data_i,

  output logic                mem_write_valid_o,
  input  logic                mem_write_ready_i,
  output logic [31:0]         mem_write_address_o,
  output logic [PortBits-1:0] mem_write_data_o
);

  logic [31:0] address_d, address_q;

  always_comb begin
    address_d = address_q;
    if (address_load_i) address_d = address_i;
    else if (word_valid_i && word_ready_o) address_d = address_q + 1'b1;
  end

  always_ff @(posedge clk_i) address_q <= address_d;

  plait_skid #(
    .Width(32 + PortBits)
  ) u_words (
    .clk_i,
    .rst_ni,
    .in_valid_i (word_valid_i),
    .in_ready_o (word_ready_o),
    .in_data_i  ({address_q, word_data_i}),
    .out_valid_o(mem_write_valid_o),
    .out_ready_i(mem_write_ready_i),
    .out_data_o ({mem_write_address_o, mem_write_data_o})
  );

  // The skid buffer is empty when it offers nothing.
  assign idle_o = !mem_write_valid_o;

  `PLAIT_ASSERT(a_load_while_idle, address_load_i |-> idle_o && !word_valid_i)

endmodule
