// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_scale: an output accumulator times its channel's FP16 step, rounded once to FP32, ties
// to even. Within the widths of this family the result is a normal number or +0; nothing saturates.
// Latency:      0 cycles, combinational from every input to result_o; the drain registers.
// Throughput:   1 result a cycle.

module plait_bs_scale #(
  parameter int unsigned GuardBits = 3,
  parameter int unsigned MantissaBits = 40
) (
  input  logic                                   is_int8_i,   // the mantissa is an integer
  input  logic signed [MantissaBits-1:0]         mantissa_i,
  input  logic [plait_bs_pkg::EXPONENT_BITS-1:0] exponent_i,
  input  logic [15:0]                            channel_step_i,  // finite
  output logic [31:0]                            result_o
);

  if (MantissaBits < 14) begin : gen_check_mantissa
    $fatal(1, "plait_bs_scale: MantissaBits must be at least 14");
  end
  if (MantissaBits > 64) begin : gen_check_wide
    $fatal(1, "plait_bs_scale: MantissaBits must be at most 64");
  end

  localparam int unsigned Fp16Bits = plait_bs_pkg::FP16_MANTISSA_BITS;
  localparam int unsigned ProductBits = MantissaBits + Fp16Bits;
  localparam int unsigned LeadingBits = $clog2(ProductBits);
  localparam int unsigned ExponentWidth = 10;  // two's complement, -512 to 511
  localparam int unsigned RestBits = ProductBits - 24;
  // Exponent field of a result whose leading one is bit 0 of the product.
  localparam int unsigned IntegerBias = 127 - plait_bs_pkg::FP16_UNIT_EXPONENT;
  localparam int unsigned Fp16Bias = IntegerBias - plait_bs_pkg::FP16_UNIT_EXPONENT - GuardBits;

  logic                     sign, is_normal, is_up;
  logic [MantissaBits-1:0]  magnitude;
  logic [Fp16Bits-1:0]      step_mantissa;
  logic [4:0]               step_exponent;
  logic [ProductBits-1:0]   product, normal;
  logic [LeadingBits-1:0]   leading;
  logic [23:0]              kept;
  logic [RestBits-1:0]      rest;
  logic [24:0]              rounded;
  logic [ExponentWidth-1:0] exponent;

  assign is_normal = channel_step_i[14:10] != '0;
  assign step_mantissa = {is_normal, channel_step_i[9:0]};
  assign step_exponent = is_normal ? channel_step_i[14:10] : 5'd1;
  assign sign = mantissa_i[MantissaBits-1] ^ channel_step_i[15];
  assign magnitude = mantissa_i[MantissaBits-1] ? -mantissa_i : mantissa_i;
  assign product = ProductBits'(magnitude) * ProductBits'(step_mantissa);

  always_comb begin
    leading = '0;
    for (int unsigned i = 0; i < ProductBits; i++) begin
      if (product[i]) leading = LeadingBits'(i);
    end
  end

  assign normal = product << (LeadingBits'(ProductBits - 1) - leading);
  assign kept = normal[ProductBits-1 -: 24];
  assign rest = normal[RestBits-1:0];
  // Above the tie, or at it with an odd last place.
  assign is_up = rest[RestBits-1] & (|(rest << 1) | kept[0]);
  assign rounded = {1'b0, kept} + 25'(is_up);

  assign exponent = ExponentWidth'(leading) + ExponentWidth'(step_exponent)
      + (is_int8_i ? ExponentWidth'(IntegerBias)
                   : ExponentWidth'(Fp16Bias) + ExponentWidth'(exponent_i))
      + ExponentWidth'(rounded[24]);

  logic unused_bits;
  assign unused_bits = ^{exponent[ExponentWidth-1:8], rounded[23]};

  // A carry out of the rounding leaves a mantissa of zeros below the hidden one.
  assign result_o = product == '0 ? '0 : {sign, exponent[7:0], rounded[22:0]};

endmodule
