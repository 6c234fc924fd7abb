// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_align: the largest exponent of a step, and how far each lane is below it. For integers
// the common exponent is IntegerExponent, whatever the lanes have (none has more).
// Latency:      0 cycles, combinational from every input to both outputs; the caller registers.
// Throughput:   1 step a cycle.

module plait_bs_align #(
  parameter int unsigned Lanes = 4,
  parameter int unsigned ExponentBits = 6,
  parameter int unsigned IntegerExponent = 6
) (
  input  logic                               is_integer_i,
  input  logic [Lanes-1:0][ExponentBits-1:0] exponents_i,
  output logic [ExponentBits-1:0]            largest_o,
  output logic [Lanes-1:0][ExponentBits-1:0] shifts_o
);

  if (Lanes == 0) begin : gen_check_lanes
    $fatal(1, "plait_bs_align: Lanes must be at least 1");
  end

  always_comb begin
    largest_o = exponents_i[0];
    for (int unsigned lane = 1; lane < Lanes; lane++) begin
      largest_o = exponents_i[lane] > largest_o ? exponents_i[lane] : largest_o;
    end
    if (is_integer_i) largest_o = ExponentBits'(IntegerExponent);
  end

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    assign shifts_o[lane] = largest_o - exponents_i[lane];
  end

endmodule
