// SPDX-License-Identifier: Apache-2.0
//
// plait_adder_tree: exact sum of Inputs signed numbers.
// Latency:      0 cycles, combinational from values_i to sum_o; the caller registers.
// Throughput:   1 sum a cycle.
// Width:        the sum of n numbers of w bits needs at most w + ceil(log2 n) bits.

module plait_adder_tree #(
  parameter int unsigned Inputs = 4,
  parameter int unsigned Width = 15,
  localparam int unsigned SumWidth = Width + $clog2(Inputs)
) (
  input  logic        [Inputs-1:0][Width-1:0] values_i,  // two's complement
  output logic signed [SumWidth-1:0]          sum_o
);

  if (Inputs == 0) begin : gen_check_inputs
    $fatal(1, "plait_adder_tree: Inputs must be at least 1");
  end
  if (Width == 0) begin : gen_check_width
    $fatal(1, "plait_adder_tree: Width must be at least 1");
  end

  // Written as a chain, whose order is free: synthesis makes a compressor tree of it.
  always_comb begin
    sum_o = '0;
    for (int unsigned i = 0; i < Inputs; i++) sum_o = sum_o + SumWidth'(signed'(values_i[i]));
  end

endmodule
