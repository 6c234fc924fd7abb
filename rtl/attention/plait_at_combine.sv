// SPDX-License-Identifier: Apache-2.0
//
// plait_at_combine: two partial results as one: the sums of the smaller reference are shifted right
// by the difference, then added. A partial result comes as items (reference, Lanes numbers): its
// sum, or accumulators of it, in the same order on both sides.
// Latency:      1 cycle.
// Throughput:   1 item of Lanes numbers a cycle.
// Combinational paths from input to output: from one input's valid to the other's ready.

`include "plait_assert.svh"

module plait_at_combine #(
  parameter int unsigned Lanes = 8,
  localparam int unsigned ReferenceBits = plait_at_pkg::REFERENCE_BITS,
  localparam int unsigned NumberBits = plait_at_pkg::ACCUMULATOR_BITS,
  localparam int unsigned ItemBits = ReferenceBits + Lanes * NumberBits
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                left_valid_i,
  output logic                left_ready_o,
  input  logic [ItemBits-1:0] left_data_i,  // {reference, numbers}, two's complement

  input  logic                right_valid_i,
  output logic                right_ready_o,
  input  logic [ItemBits-1:0] right_data_i,

  output logic                out_valid_o,
  input  logic                out_ready_i,
  output logic [ItemBits-1:0] out_data_o
);

  if (Lanes == 0) begin : gen_check
    $fatal(1, "plait_at_combine: Lanes must be at least 1");
  end

  logic signed [ReferenceBits-1:0] left_reference, right_reference;
  logic        [ReferenceBits-1:0] left_fall, right_fall;
  logic                            is_left_larger, both_valid, is_ready;
  logic        [ItemBits-1:0]      combined;

  assign left_reference = left_data_i[ItemBits-1 -: ReferenceBits];
  assign right_reference = right_data_i[ItemBits-1 -: ReferenceBits];
  assign is_left_larger = left_reference > right_reference;
  assign left_fall = is_left_larger ? '0 : right_reference - left_reference;
  assign right_fall = is_left_larger ? left_reference - right_reference : '0;
  assign combined[ItemBits-1 -: ReferenceBits] = is_left_larger ? left_reference : right_reference;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic signed [NumberBits-1:0] left, right;
    assign left = left_data_i[lane*NumberBits +: NumberBits];
    assign right = right_data_i[lane*NumberBits +: NumberBits];
    assign combined[lane*NumberBits +: NumberBits] =
        (left >>> left_fall) + (right >>> right_fall);
  end

  assign both_valid = left_valid_i && right_valid_i;
  assign left_ready_o = is_ready && right_valid_i;
  assign right_ready_o = is_ready && left_valid_i;

  plait_skid #(
    .Width(ItemBits)
  ) u_out (
    .clk_i,
    .rst_ni,
    .in_valid_i (both_valid),
    .in_ready_o (is_ready),
    .in_data_i  (combined),
    .out_valid_o,
    .out_ready_i,
    .out_data_o
  );

endmodule
