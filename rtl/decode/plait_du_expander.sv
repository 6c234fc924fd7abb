// SPDX-License-Identifier: Apache-2.0
//
// plait_du_expander: INT4 codes of dual grained groups to INT8 weights: (code - zero) * scale.
// Latency:      2 cycles.
// Throughput:   1 beat of WeightsPerCycle codes a cycle, also from group to group.
// Combinational paths from input to output: out_ready_i to code_ready_o and group_ready_o;
//               group_valid_i to code_ready_o; code_valid_i and code_last_i to group_ready_o.
// Width:        a weight fits 8 bits by the format, so 8 bits of its product are enough; an
//               assertion compares them with the whole product.

`include "plait_assert.svh"

module plait_du_expander #(
  parameter int unsigned WeightsPerCycle = 16
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                            code_valid_i,
  output logic                            code_ready_o,
  input  logic [WeightsPerCycle-1:0][3:0] code_data_i,
  input  logic                            code_last_i,  // beat of its group

  input  logic        group_valid_i,
  output logic        group_ready_o,
  input  logic [15:0] group_data_i,  // {scale, unsigned; zero, two's complement}

  output logic                            out_valid_o,
  input  logic                            out_ready_i,
  output logic [WeightsPerCycle-1:0][7:0] out_data_o  // two's complement
);

  if (WeightsPerCycle == 0) begin : gen_check
    $fatal(1, "plait_du_expander: WeightsPerCycle must be at least 1");
  end

  logic                            advance;  // nothing moves while a beat waits
  logic                            valid_q, out_valid_q;
  logic [WeightsPerCycle-1:0][7:0] difference_d, difference_q, weight_d, weight_q;
  logic [7:0]                      scale_q;

  assign advance       = !out_valid_q || out_ready_i;
  assign code_ready_o  = advance && group_valid_i;
  assign group_ready_o = advance && code_valid_i && code_last_i;

  always_comb begin
    for (int unsigned lane = 0; lane < WeightsPerCycle; lane++) begin
      difference_d[lane] = {4'd0, code_data_i[lane]} - group_data_i[7:0];
      weight_d[lane]     = difference_q[lane] * scale_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q     <= 1'b0;
      out_valid_q <= 1'b0;
    end else if (advance) begin
      valid_q     <= code_valid_i && group_valid_i;
      out_valid_q <= valid_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      difference_q <= difference_d;
      scale_q      <= group_data_i[15:8];
      weight_q     <= weight_d;
    end
  end

  assign out_valid_o = out_valid_q;
  assign out_data_o  = weight_q;

`ifndef SYNTHESIS
  logic [WeightsPerCycle-1:0] too_large;
  always_comb begin
    for (int unsigned lane = 0; lane < WeightsPerCycle; lane++) begin
      too_large[lane] = (int'(code_data_i[lane]) - 32'(signed'(group_data_i[7:0])))
          * int'(group_data_i[15:8]) != 32'(signed'(8'(difference_d[lane] * group_data_i[15:8])));
    end
  end
  `PLAIT_ASSERT(a_fits, !(code_valid_i && group_valid_i) || too_large == '0)
`endif
  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
