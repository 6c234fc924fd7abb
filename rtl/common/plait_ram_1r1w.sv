// SPDX-License-Identifier: Apache-2.0
//
// plait_ram_1r1w: memory with one read port and one write port, both synchronous.
// Latency:      read 1 cycle: data of the address sampled with read_enable_i; it holds until the
//               next read. Reading the address that is being written gives the old word.
// Throughput:   1 read and 1 write a cycle.
// Combinational paths from input to output: none.

module plait_ram_1r1w #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 16,
  localparam int unsigned AddressWidth = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                    clk_i,

  input  logic                    write_enable_i,
  input  logic [AddressWidth-1:0] write_address_i,
  input  logic [Width-1:0]        write_data_i,

  input  logic                    read_enable_i,
  input  logic [AddressWidth-1:0] read_address_i,
  output logic [Width-1:0]        read_data_o
);

  if (Width == 0) begin : gen_check_width
    $fatal(1, "plait_ram_1r1w: Width must be at least 1");
  end
  if (Depth == 0) begin : gen_check_depth
    $fatal(1, "plait_ram_1r1w: Depth must be at least 1");
  end

  logic [Width-1:0] words_q [Depth];
  logic [Width-1:0] read_data_q;

  assign read_data_o = read_data_q;

  always_ff @(posedge clk_i) begin
    if (write_enable_i) words_q[write_address_i] <= write_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (read_enable_i) read_data_q <= words_q[read_address_i];
  end

endmodule
