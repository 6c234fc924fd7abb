// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_banked_fifo: queue in memories, its entries filled bank by bank and read whole.
// Latency:      an entry is available in the cycle after push_i; read_data_o follows pop_i by
//               1 cycle and holds until the next pop.
// Throughput:   1 bank write and 1 pop a cycle; a full queue accepts in the cycle after a pop.
// Combinational paths from input to output: none.
// Writes go into the entry at the tail, which push_i (with its last write) makes available.

`include "plait_assert.svh"

module plait_bs_banked_fifo #(
  parameter int unsigned Banks = 8,
  parameter int unsigned BankWidth = 32,
  parameter int unsigned Depth = 16
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic [Banks-1:0]                write_enable_i,  // only while not full
  input  logic [Banks-1:0][BankWidth-1:0] write_data_i,
  input  logic                            push_i,
  output logic                            full_o,

  output logic                            available_o,
  input  logic                            pop_i,        // only while available
  output logic [Banks-1:0][BankWidth-1:0] read_data_o
);

  if (Depth < 2) begin : gen_check_depth
    $fatal(1, "plait_bs_banked_fifo: Depth must be at least 2");
  end

  localparam int unsigned PointerWidth = $clog2(Depth);
  localparam int unsigned CountWidth = $clog2(Depth + 1);
  localparam logic [PointerWidth-1:0] LastEntry = PointerWidth'(Depth - 1);

  logic [PointerWidth-1:0] write_d, write_q;
  logic [PointerWidth-1:0] read_d, read_q;
  logic [CountWidth-1:0]   count_d, count_q;

  assign full_o      = count_q == CountWidth'(Depth);
  assign available_o = count_q != '0;

  always_comb begin
    write_d = write_q;
    read_d  = read_q;
    count_d = count_q;
    if (push_i) write_d = write_q == LastEntry ? '0 : write_q + 1'b1;
    if (pop_i) read_d = read_q == LastEntry ? '0 : read_q + 1'b1;
    if (push_i && !pop_i) count_d = count_q + 1'b1;
    if (pop_i && !push_i) count_d = count_q - 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q <= '0;
      read_q  <= '0;
      count_q <= '0;
    end else begin
      write_q <= write_d;
      read_q  <= read_d;
      count_q <= count_d;
    end
  end

  for (genvar bank = 0; bank < Banks; bank++) begin : gen_bank
    plait_ram_1r1w #(
      .Width(BankWidth),
      .Depth(Depth)
    ) u_ram (
      .clk_i,
      .write_enable_i (write_enable_i[bank]),
      .write_address_i(write_q),
      .write_data_i   (write_data_i[bank]),
      .read_enable_i  (pop_i),
      .read_address_i (read_q),
      .read_data_o    (read_data_o[bank])
    );
  end

  `PLAIT_ASSERT(a_no_overflow, !(full_o && (push_i || write_enable_i != '0)))
  `PLAIT_ASSERT(a_no_underflow, !(pop_i && !available_o))

endmodule
