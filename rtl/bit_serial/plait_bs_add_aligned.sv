// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_add_aligned: sum of two numbers with an exponent. The one of smaller exponent is first
// shifted right, truncating; the sum is shifted right until it fits SumBits, truncating. Leading
// zeros stay: nothing ever moves left.
// Latency:      0 cycles, combinational from every input to sum_*_o; the caller registers.
// Throughput:   1 sum a cycle.
// IntegerBits:  width of exact integers (exponents 0) while is_integer_i is high; 0 removes them.
// The result never needs an exponent beyond ExponentBits: see EXPONENT_BITS in plait_bs_pkg.

module plait_bs_add_aligned #(
  parameter int unsigned LeftBits = 15,     // of left_mantissa_i as a number with an exponent
  parameter int unsigned RightBits = 23,    // of right_mantissa_i, likewise
  parameter int unsigned SumBits = 15,
  parameter int unsigned IntegerBits = 32,
  parameter int unsigned ExponentBits = 6,
  localparam int unsigned LeftWidth = LeftBits > IntegerBits ? LeftBits : IntegerBits,
  localparam int unsigned RightWidth = RightBits > IntegerBits ? RightBits : IntegerBits,
  localparam int unsigned SumWidth = SumBits > IntegerBits ? SumBits : IntegerBits
) (
  input  logic                         enable_i,  // low: both outputs are zero, nothing toggles
  input  logic                         is_integer_i,
  input  logic signed [LeftWidth-1:0]  left_mantissa_i,
  input  logic [ExponentBits-1:0]      left_exponent_i,
  input  logic signed [RightWidth-1:0] right_mantissa_i,
  input  logic [ExponentBits-1:0]      right_exponent_i,
  output logic signed [SumWidth-1:0]   sum_mantissa_o,
  output logic [ExponentBits-1:0]      sum_exponent_o
);

  // One carry beyond the wider operand; the surplus is what the sum may have above SumBits.
  localparam int unsigned WiderBits = LeftBits > RightBits ? LeftBits : RightBits;
  localparam int unsigned Surplus = WiderBits + 1 > SumBits ? WiderBits + 1 - SumBits : 0;
  localparam int unsigned CarryBits = WiderBits + 1 > SumBits ? WiderBits + 1 : SumBits;
  localparam int unsigned TotalWidth = CarryBits > IntegerBits ? CarryBits : IntegerBits;

  logic                         is_right_larger;
  logic [ExponentBits-1:0]      distance;
  logic signed [TotalWidth-1:0] left, right, total;
  logic [ExponentBits-1:0]      excess;

  assign is_right_larger = right_exponent_i > left_exponent_i;

  always_comb begin
    distance = '0;
    left = '0;
    right = '0;
    if (enable_i) begin
      distance = is_right_larger ? right_exponent_i - left_exponent_i
                                 : left_exponent_i - right_exponent_i;
      left = TotalWidth'(left_mantissa_i) >>> (is_right_larger ? distance : '0);
      right = TotalWidth'(right_mantissa_i) >>> (is_right_larger ? '0 : distance);
    end
  end

  assign total = left + right;

  if (Surplus == 0) begin : gen_fits
    logic unused_is_integer;
    assign unused_is_integer = is_integer_i;
    assign excess = '0;
  end else begin : gen_renormalise
    // Bits of the surplus that differ from the sign; the length of that number, found by halving,
    // is how far the sum must move.
    localparam int unsigned LengthBits = $clog2(Surplus + 1);
    logic [Surplus-1:0]    beyond, rest;
    logic [LengthBits-1:0] length;
    assign beyond = total[SumBits-1 +: Surplus] ^ {Surplus{total[CarryBits-1]}};
    always_comb begin
      rest = beyond;
      length = '0;
      for (int i = int'(LengthBits) - 1; i >= 0; i--) begin
        // A number of 2^i bits or more: drop that many of them.
        length[i] = (rest >> ((1 << i) - 1)) != '0;
        rest = length[i] ? rest >> (1 << i) : rest;
      end
      excess = is_integer_i ? '0 : ExponentBits'(length);
    end
  end

  assign sum_mantissa_o = SumWidth'(total >>> excess);
  assign sum_exponent_o = enable_i ? (is_right_larger ? right_exponent_i : left_exponent_i) + excess
                                   : '0;

endmodule
