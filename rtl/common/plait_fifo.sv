// SPDX-License-Identifier: Apache-2.0
//
// plait_fifo: first-in first-out queue of Depth items in registers or distributed memory.
// Latency:      1 cycle (an item written into an empty queue is offered in the next cycle).
// Throughput:   1 item a cycle; a full queue accepts again in the cycle after one has left.
// Combinational paths from input to output: none; in_ready_o and out_valid_o come from counters,
//               out_data_o is the asynchronous read of the entry at the head.

`include "plait_assert.svh"

module plait_fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 4,
  localparam int unsigned CountWidth = $clog2(Depth + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,

  input  logic                  in_valid_i,
  output logic                  in_ready_o,
  input  logic [Width-1:0]      in_data_i,

  output logic                  out_valid_o,
  input  logic                  out_ready_i,
  output logic [Width-1:0]      out_data_o,

  output logic [CountWidth-1:0] count_o  // items held
);

  if (Width == 0) begin : gen_check_width
    $fatal(1, "plait_fifo: Width must be at least 1");
  end
  if (Depth == 0) begin : gen_check_depth
    $fatal(1, "plait_fifo: Depth must be at least 1");
  end

  localparam int unsigned PointerWidth = Depth > 1 ? $clog2(Depth) : 1;
  localparam logic [PointerWidth-1:0] LastEntry = PointerWidth'(Depth - 1);

  logic [Width-1:0]        entries_q [Depth];
  logic [PointerWidth-1:0] write_d, write_q;
  logic [PointerWidth-1:0] read_d, read_q;
  logic [CountWidth-1:0]   count_d, count_q;
  logic                    push, pop;

  assign in_ready_o  = count_q != CountWidth'(Depth);
  assign out_valid_o = count_q != '0;
  assign out_data_o  = entries_q[read_q];
  assign count_o     = count_q;
  assign push        = in_valid_i & in_ready_o;
  assign pop         = out_valid_o & out_ready_i;

  always_comb begin
    write_d = write_q;
    read_d  = read_q;
    count_d = count_q;
    if (push) write_d = write_q == LastEntry ? '0 : write_q + 1'b1;
    if (pop) read_d = read_q == LastEntry ? '0 : read_q + 1'b1;
    if (push && !pop) count_d = count_q + 1'b1;
    if (pop && !push) count_d = count_q - 1'b1;
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

  always_ff @(posedge clk_i) begin
    if (push) entries_q[write_q] <= in_data_i;
  end

  `PLAIT_ASSERT(a_no_overflow, !(push && count_q == CountWidth'(Depth)))
  `PLAIT_ASSERT(a_no_underflow, !(pop && count_q == '0))
  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
