// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_activation: splits activations into what the PEs of a column take.
// Latency:      0 cycles, combinational from every input to every output; the array registers.
// Throughput:   Lanes activations a cycle.
// FP16: subnormals have exponent 1 and no hidden one; infinities and NaN are kept out upstream.
// INT8: in the low byte; the magnitude goes to the upper bits of the mantissa, the exponent is 0.

module plait_bs_activation #(
  parameter int unsigned Lanes = 4
) (
  input  logic                                                    is_int8_i,
  input  logic [Lanes-1:0][15:0]                                  activations_i,
  output logic [Lanes-1:0]                                        signs_o,
  output logic [Lanes-1:0][plait_bs_pkg::FP16_EXPONENT_BITS-1:0]  exponents_o,
  output logic [Lanes-1:0][plait_bs_pkg::FP16_MANTISSA_BITS-1:0]  mantissas_o
);

  if (Lanes == 0) begin : gen_check_lanes
    $fatal(1, "plait_bs_activation: Lanes must be at least 1");
  end

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [15:0] fp16;
    logic [7:0]  magnitude;  // 128 included
    logic        is_normal;
    assign fp16 = activations_i[lane];
    assign magnitude = fp16[7] ? -fp16[7:0] : fp16[7:0];
    assign is_normal = fp16[14:10] != '0;
    assign signs_o[lane] = is_int8_i ? fp16[7] : fp16[15];
    assign exponents_o[lane] = is_int8_i ? '0 : is_normal ? fp16[14:10] : 5'd1;
    assign mantissas_o[lane] = is_int8_i ? {magnitude, 3'd0} : {is_normal, fp16[9:0]};
  end

endmodule
