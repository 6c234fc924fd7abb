// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_global_buffer: three writers and three readers without a conflict.
// Latency:      read 1 cycle; a word holds until the reader's next read.
// Throughput:   a write of every writer and a read of every reader a cycle.
// Combinational paths from input to output: none.
// Every writer has a region of its own (bits 11:10 of a reader's address: 0 LD, 1 MISC, 2 MM and MV),
// and every reader a copy of it, so that nobody ever waits.

module plait_sd_global_buffer #(
  parameter int unsigned Width = 256,
  parameter int unsigned Entries = 256,  // of a region
  localparam int unsigned Writers = 3,
  localparam int unsigned Readers = 3
) (
  input  logic                          clk_i,

  input  logic [Writers-1:0]            write_enable_i,
  input  logic [Writers-1:0][11:0]      write_address_i,  // bits 11:10 are not looked at
  input  logic [Writers-1:0][Width-1:0] write_data_i,

  input  logic [Readers-1:0]            read_enable_i,
  input  logic [Readers-1:0][11:0]      read_address_i,
  output logic [Readers-1:0][Width-1:0] read_data_o
);

  if (Entries < 2 || Entries > 1024) begin : gen_check_entries
    $fatal(1, "plait_sd_global_buffer: Entries must be 2 to 1024");
  end

  localparam int unsigned AddressBits = $clog2(Entries);

  logic [Readers-1:0][Writers-1:0][Width-1:0] words;
  logic [Readers-1:0][1:0]                    regions_q;

  for (genvar r = 0; r < Readers; r++) begin : gen_reader
    for (genvar w = 0; w < Writers; w++) begin : gen_region
      plait_ram_1r1w #(
        .Width(Width),
        .Depth(Entries)
      ) u_copy (
        .clk_i,
        .write_enable_i (write_enable_i[w]),
        .write_address_i(write_address_i[w][AddressBits-1:0]),
        .write_data_i   (write_data_i[w]),
        .read_enable_i  (read_enable_i[r]),
        .read_address_i (read_address_i[r][AddressBits-1:0]),
        .read_data_o    (words[r][w])
      );
    end

    always_ff @(posedge clk_i) begin
      if (read_enable_i[r]) regions_q[r] <= read_address_i[r][11:10];
    end

    always_comb begin
      unique case (regions_q[r])
        2'd0:    read_data_o[r] = words[r][0];
        2'd1:    read_data_o[r] = words[r][1];
        default: read_data_o[r] = words[r][2];
      endcase
    end
  end

  logic unused_bits;
  assign unused_bits = ^{write_address_i, read_address_i};

endmodule
