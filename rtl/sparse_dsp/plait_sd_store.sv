// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_store: runs ST instructions: entries of the global buffer to consecutive words of memory.
// Latency:      start_i to the first word at the port 3 cycles; done_o comes with the last transfer.
// Throughput:   a word a cycle; one instruction at a time, start_i only while ready_o.
// Combinational paths: the writer's ready to the buffer's read.
// A word of the port is an entry; the length is whole words.

`include "plait_assert.svh"

module plait_sd_store #(
  parameter int unsigned PortBits = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                         start_i,
  output logic                         ready_o,
  input  plait_sd_machine_pkg::store_t store_i,
  output logic                         done_o,  // a pulse

  output logic                read_enable_o,
  output logic [11:0]         read_address_o,
  input  logic [PortBits-1:0] read_data_i,  // a cycle later; holds until the next read

  output logic                mem_write_valid_o,
  input  logic                mem_write_ready_i,
  output logic [31:0]         mem_write_address_o,
  output logic [PortBits-1:0] mem_write_data_o
);

  if (PortBits < 16 || (PortBits & (PortBits - 1)) != 0) begin : gen_check_port
    $fatal(1, "plait_sd_store: PortBits must be a power of two, at least 16");
  end

  localparam int unsigned ByteBits = $clog2(PortBits / 8);
  localparam int unsigned WordBits = 23 - ByteBits;

  logic                active_d, active_q, word_valid_d, word_valid_q, word_ready;
  logic [WordBits-1:0] unread_d, unread_q, unsent_d, unsent_q;
  logic [11:0]         entry_d, entry_q;
  logic [31:0]         address_d, address_q;
  logic                word_taken, sent;

  assign word_taken    = word_valid_q && word_ready;
  assign read_enable_o = active_q && unread_q != '0 && (!word_valid_q || word_ready);
  assign sent          = mem_write_valid_o && mem_write_ready_i;
  assign done_o        = sent && unsent_q == WordBits'(1);
  assign ready_o       = !active_q;

  always_comb begin
    active_d     = active_q && !done_o;
    word_valid_d = read_enable_o || (word_valid_q && !word_ready);
    unread_d     = unread_q - WordBits'(read_enable_o);
    unsent_d     = unsent_q - WordBits'(sent);
    entry_d      = entry_q + 12'(read_enable_o);
    address_d    = address_q + 32'(word_taken);
    if (start_i) begin
      active_d  = 1'b1;
      unread_d  = store_i.length[22:ByteBits];
      unsent_d  = store_i.length[22:ByteBits];
      entry_d   = store_i.bank_address;
      address_d = 32'(store_i.address >> ByteBits);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q     <= 1'b0;
      word_valid_q <= 1'b0;
    end else begin
      active_q     <= active_d;
      word_valid_q <= word_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    unread_q  <= unread_d;
    unsent_q  <= unsent_d;
    entry_q   <= entry_d;
    address_q <= address_d;
  end

  plait_skid #(
    .Width(32 + PortBits)
  ) u_words (
    .clk_i,
    .rst_ni,
    .in_valid_i (word_valid_q),
    .in_ready_o (word_ready),
    .in_data_i  ({address_q, read_data_i}),
    .out_valid_o(mem_write_valid_o),
    .out_ready_i(mem_write_ready_i),
    .out_data_o ({mem_write_address_o, mem_write_data_o})
  );

  assign read_address_o = entry_q;

  logic unused_bits;
  assign unused_bits = ^{store_i.unused_high, store_i.memory, store_i.channel, store_i.head,
                         store_i.loops_1d, store_i.by_column, store_i.length[ByteBits-1:0]};

  `PLAIT_ASSERT(a_start_while_ready, start_i |-> ready_o && store_i.length[22:ByteBits] != '0)

endmodule
