// SPDX-License-Identifier: Apache-2.0
//
// plait_delay: a word, Cycles later. No reset, so that FPGAs build it of shift-register LUTs.
// Latency:      Cycles; 0 is a wire.
// Throughput:   1 word a cycle.
// Combinational paths from input to output: only with Cycles 0.

module plait_delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Cycles = 1
) (
  input  logic             clk_i,
  input  logic [Width-1:0] data_i,
  output logic [Width-1:0] data_o
);

  if (Width == 0) begin : gen_check_width
    $fatal(1, "plait_delay: Width must be at least 1");
  end

  if (Cycles == 0) begin : gen_wire
    logic unused_clock;
    assign unused_clock = clk_i;
    assign data_o = data_i;
  end else if (Cycles == 1) begin : gen_register
    logic [Width-1:0] data_q;
    always_ff @(posedge clk_i) data_q <= data_i;
    assign data_o = data_q;
  end else begin : gen_registers
    logic [Cycles*Width-1:0] data_q;  // the newest word lowest
    always_ff @(posedge clk_i) data_q <= {data_q[(Cycles-1)*Width-1:0], data_i};
    assign data_o = data_q[(Cycles-1)*Width +: Width];
  end

endmodule
