// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_dequant: multiplies a group's sum by its scale, one bit a cycle, and adds the product to
// the output accumulator; the last group of a tile goes to the output register instead.
// Latency:      ScaleBits + 1 cycles from load_i to mantissa_o: load_i brings the highest bit of
//               the scale, ScaleBits - 1 cycles of step_i one more bit each, then add_i.
// Throughput:   1 group in ScaleBits cycles; add_i of one group may come with load_i of the next.
// Combinational paths from input to output: none.
// Integer:      0 removes the INT8 mode (is_int8_i is then not looked at).

module plait_bs_dequant #(
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned OutputAccumulatorBits = 32,
  parameter int unsigned ScaleBits = 8,
  parameter bit          Integer = 1'b1,
  localparam int unsigned GroupIntegerBits = Integer ? plait_bs_pkg::INTEGER_ACCUMULATOR_BITS : 0,
  localparam int unsigned IntegerBits = Integer ? plait_bs_pkg::INTEGER_OUTPUT_BITS : 0,
  localparam int unsigned AccumulatorWidth =
      AccumulatorBits > GroupIntegerBits ? AccumulatorBits : GroupIntegerBits,
  localparam int unsigned OutputWidth =
      OutputAccumulatorBits > IntegerBits ? OutputAccumulatorBits : IntegerBits
) (
  input  logic                                   clk_i,
  input  logic                                   is_int8_i,

  input  logic                                   load_i,
  input  logic signed [AccumulatorWidth-1:0]     mantissa_i,
  input  logic [plait_bs_pkg::EXPONENT_BITS-1:0] exponent_i,
  input  logic                                   step_i,
  input  logic                                   scale_bit_i,  // with load_i or step_i

  input  logic                                   add_i,
  input  logic                                   first_i,      // with add_i: start from zero
  input  logic                                   last_i,       // with add_i: to the output register

  output logic signed [OutputWidth-1:0]          mantissa_o,
  output logic [plait_bs_pkg::EXPONENT_BITS-1:0] exponent_o
);

  if (ScaleBits == 0) begin : gen_check_scale
    $fatal(1, "plait_bs_dequant: ScaleBits must be at least 1");
  end
  if (Integer && ScaleBits > 8) begin : gen_check_integer_scale
    $fatal(1, "plait_bs_dequant: exact integers have room for scales of 8 bits");
  end

  localparam int unsigned ProductBits = AccumulatorBits + ScaleBits;
  localparam int unsigned ProductWidth = ProductBits > IntegerBits ? ProductBits : IntegerBits;

  logic signed [AccumulatorWidth-1:0]     factor_q;
  logic signed [ProductWidth-1:0]         product_d, product_q;
  logic [plait_bs_pkg::EXPONENT_BITS-1:0] exponent_q;

  always_comb begin
    product_d = load_i ? '0 : product_q <<< 1;
    if (scale_bit_i) product_d = product_d + ProductWidth'(load_i ? mantissa_i : factor_q);
  end

  always_ff @(posedge clk_i) begin
    if (load_i || step_i) product_q <= product_d;
    if (load_i) begin
      factor_q   <= mantissa_i;
      exponent_q <= exponent_i;
    end
  end

  logic signed [OutputWidth-1:0]          sum_mantissa, total_mantissa_q, out_mantissa_q;
  logic [plait_bs_pkg::EXPONENT_BITS-1:0] sum_exponent, total_exponent_q, out_exponent_q;

  plait_bs_add_aligned #(
    .LeftBits    (OutputAccumulatorBits),
    .RightBits   (ProductBits),
    .SumBits     (OutputAccumulatorBits),
    .IntegerBits (IntegerBits),
    .ExponentBits(plait_bs_pkg::EXPONENT_BITS)
  ) u_add (
    .enable_i        (add_i),
    .is_integer_i    (is_int8_i),
    .left_mantissa_i (first_i ? '0 : total_mantissa_q),
    .left_exponent_i (first_i ? '0 : total_exponent_q),
    .right_mantissa_i(product_q),
    .right_exponent_i(exponent_q),
    .sum_mantissa_o  (sum_mantissa),
    .sum_exponent_o  (sum_exponent)
  );

  always_ff @(posedge clk_i) begin
    if (add_i) begin
      total_mantissa_q <= sum_mantissa;
      total_exponent_q <= sum_exponent;
    end
    if (add_i && last_i) begin
      out_mantissa_q <= sum_mantissa;
      out_exponent_q <= sum_exponent;
    end
  end

  assign mantissa_o = out_mantissa_q;
  assign exponent_o = out_exponent_q;

endmodule
