// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_dot: sums Lanes signed numbers with exponents and adds the sum to an accumulator.
// Latency:      3 cycles from operands to mantissa_o and exponent_o: align, sum, accumulate.
// Throughput:   1 step a cycle. No ready: the caller says with accumulate_i which steps count.
// Combinational paths from input to output: none.
// IntegerBits:  width of the exact accumulator while is_integer_i is high (stable while operands
//               are in flight); 0 removes it. The lane's exponent is then FullExponent at most, and
//               an operand is magnitude * 2^(exponent - FullExponent), an integer.

module plait_bs_dot #(
  parameter int unsigned Lanes = 4,
  parameter int unsigned MagnitudeBits = 11,
  parameter int unsigned GuardBits = 3,        // kept below the last place while aligning
  parameter int unsigned ExponentBits = 6,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned IntegerBits = 32,
  parameter int unsigned MaxShift = 6,
  parameter int unsigned ShiftBits = 3,
  localparam int unsigned AccumulatorWidth =
      AccumulatorBits > IntegerBits ? AccumulatorBits : IntegerBits
) (
  input  logic                                clk_i,
  input  logic                                is_integer_i,

  input  logic [Lanes-1:0]                    signs_i,
  input  logic [Lanes-1:0][MagnitudeBits-1:0] magnitudes_i,
  input  logic [Lanes-1:0][ExponentBits-1:0]  exponents_i,

  // Two cycles after their operands.
  input  logic                                accumulate_i,
  input  logic                                first_i,  // with accumulate_i: start from zero
  input  logic [ShiftBits-1:0]                shift_i,  // power of two common to all lanes

  output logic signed [AccumulatorWidth-1:0]  mantissa_o,
  output logic [ExponentBits-1:0]             exponent_o
);

  if (MagnitudeBits == 0) begin : gen_check_magnitude
    $fatal(1, "plait_bs_dot: MagnitudeBits must be at least 1");
  end
  if (AccumulatorBits < 2) begin : gen_check_accumulator
    $fatal(1, "plait_bs_dot: AccumulatorBits must be at least 2");
  end

  localparam int unsigned CutBits = MagnitudeBits + GuardBits;
  localparam int unsigned ProductBits = CutBits + 1;              // and the sign
  localparam int unsigned SumBits = ProductBits + $clog2(Lanes);
  localparam int unsigned ShiftedBits = SumBits + MaxShift;
  localparam int unsigned RightWidth = ShiftedBits > IntegerBits ? ShiftedBits : IntegerBits;
  // Integers of 8 bits lie in the upper bits of a magnitude: shifted right by FullExponent less
  // their exponent, none of their bits is lost.
  localparam int unsigned FullExponent = CutBits > 8 ? CutBits - 8 : 0;

  logic is_integer;
  assign is_integer = IntegerBits != 0 && is_integer_i;

  // ---- Align ------------------------------------------------------------------------------------
  logic [ExponentBits-1:0]             largest;
  logic [Lanes-1:0][ExponentBits-1:0]  lane_shifts;
  logic [Lanes-1:0]                    signs_q;
  logic [Lanes-1:0][MagnitudeBits-1:0] magnitudes_q;
  logic [Lanes-1:0][ExponentBits-1:0]  lane_shifts_q;
  logic [ExponentBits-1:0]             largest_q;

  plait_bs_align #(
    .Lanes          (Lanes),
    .ExponentBits   (ExponentBits),
    .IntegerExponent(FullExponent)
  ) u_align (
    .is_integer_i(is_integer),
    .exponents_i (exponents_i),
    .largest_o   (largest),
    .shifts_o    (lane_shifts)
  );

  always_ff @(posedge clk_i) begin
    signs_q       <= signs_i;
    magnitudes_q  <= magnitudes_i;
    lane_shifts_q <= lane_shifts;
    largest_q     <= is_integer ? '0 : largest;
  end

  // ---- Sum --------------------------------------------------------------------------------------
  logic [Lanes-1:0][ProductBits-1:0] products;
  logic signed [SumBits-1:0]         sum, sum_q;
  logic [ExponentBits-1:0]           sum_exponent_q;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_product
    logic [CutBits-1:0]     cut;
    logic [ProductBits-1:0] positive;
    assign cut = (CutBits'(magnitudes_q[lane]) << GuardBits) >> lane_shifts_q[lane];
    assign positive = {1'b0, cut};
    assign products[lane] = signs_q[lane] ? -positive : positive;
  end

  plait_adder_tree #(
    .Inputs(Lanes),
    .Width (ProductBits)
  ) u_tree (
    .values_i(products),
    .sum_o   (sum)
  );

  always_ff @(posedge clk_i) begin
    sum_q          <= sum;
    sum_exponent_q <= largest_q;
  end

  // ---- Accumulate -------------------------------------------------------------------------------
  logic signed [AccumulatorWidth-1:0] mantissa_d, mantissa_q;
  logic [ExponentBits-1:0]            exponent_d, exponent_q;
  logic signed [ShiftedBits-1:0]      shifted;

  assign shifted = ShiftedBits'(sum_q) <<< shift_i;

  plait_bs_add_aligned #(
    .LeftBits    (AccumulatorBits),
    .RightBits   (ShiftedBits),
    .SumBits     (AccumulatorBits),
    .IntegerBits (IntegerBits),
    .ExponentBits(ExponentBits)
  ) u_add (
    .enable_i        (accumulate_i),
    .is_integer_i    (is_integer),
    .left_mantissa_i (first_i ? '0 : mantissa_q),
    .left_exponent_i (first_i ? '0 : exponent_q),
    .right_mantissa_i(RightWidth'(shifted)),
    .right_exponent_i(sum_exponent_q),
    .sum_mantissa_o  (mantissa_d),
    .sum_exponent_o  (exponent_d)
  );

  always_ff @(posedge clk_i) begin
    if (accumulate_i) begin
      mantissa_q <= mantissa_d;
      exponent_q <= exponent_d;
    end
  end

  assign mantissa_o = mantissa_q;
  assign exponent_o = exponent_q;

endmodule
