// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_reciprocal: one over a number, or over its square root, as mantissa / 2**(31 + exponent).
// Latency:      start_i to done_o 34 cycles (reciprocal) or 50 (root): a bit of the root or of the
//               quotient a cycle. The result holds until the next start.
// Throughput:   one result at a time; start_i only while idle.
// Combinational paths from input to output: none.
// The number is cut to 16 leading bits (32 for the root), a root and a quotient are rounded down:
// plait.models.golden.special_functions.reciprocal and inverse_root. A number of 0 counts as 1.

`include "plait_assert.svh"

module plait_sd_reciprocal #(
  parameter int unsigned Width = 50,
  localparam int unsigned ExponentWidth = 8
) (
  input  logic                            clk_i,
  input  logic                            rst_ni,

  input  logic                            start_i,
  input  logic                            is_root_i,
  input  logic [Width-1:0]                number_i,
  output logic                            done_o,       // a pulse
  output logic [16:0]                     mantissa_o,   // 2**15 to 2**16
  output logic signed [ExponentWidth-1:0] exponent_o
);

  if (Width < 32 || Width > 64) begin : gen_check_width
    $fatal(1, "plait_sd_reciprocal: Width must be 32 to 64");
  end

  typedef enum logic [1:0] {StateIdle, StateRoot, StateDivide, StateDone} state_e;

  state_e                          state_d, state_q;
  logic [5:0]                      step_d, step_q;  // bits still to come
  logic [31:0]                     radicand_d, radicand_q;
  logic [15:0]                     divisor_d, divisor_q;  // the number, or its root
  logic [31:0]                     remainder_d, remainder_q;
  logic [16:0]                     quotient_d, quotient_q;
  logic signed [ExponentWidth-1:0] exponent_d, exponent_q;

  // ---- Leading bits -----------------------------------------------------------------------------
  logic [Width-1:0]                number;
  logic signed [ExponentWidth-1:0] length;  // bits of the number
  logic signed [ExponentWidth-1:0] shift;
  logic [Width+31:0]               aligned;

  assign number = number_i == '0 ? Width'(1) : number_i;

  always_comb begin
    length = '0;
    for (int unsigned i = 0; i < Width; i++) begin
      if (number[i]) length = ExponentWidth'(i + 1);
    end
    shift = length - 8'sd16;
    if (is_root_i) begin
      shift = length - 8'sd32;
      if (shift[0]) shift = shift + 8'sd1;
    end
    // 31 zeros below, so that every shift is one to the right.
    aligned = {1'b0, number, 31'd0} >> (8'sd31 + shift);
  end

  // ---- Root and quotient, a bit a cycle ---------------------------------------------------------
  logic [31:0] root_trial;  // (2 root + 1) at the place of this bit
  logic        root_bit;
  logic [31:0] twice;       // remainder of the division, one place up
  logic        quotient_bit;

  // Digit by digit: divisor_q collects the root, remainder_q what is left of the radicand's pairs.
  assign root_trial   = {14'd0, divisor_q, 2'b01};
  assign root_bit     = {remainder_q[29:0], radicand_q[31:30]} >= root_trial;
  assign twice        = {remainder_q[30:0], step_q == 6'd32};  // the dividend is 2**31
  assign quotient_bit = twice >= 32'(divisor_q);

  always_comb begin
    state_d     = state_q;
    step_d      = step_q - 6'd1;
    radicand_d  = radicand_q;
    divisor_d   = divisor_q;
    remainder_d = remainder_q;
    quotient_d  = quotient_q;
    exponent_d  = exponent_q;
    unique case (state_q)
      StateIdle: if (start_i) begin
        state_d     = is_root_i ? StateRoot : StateDivide;
        step_d      = is_root_i ? 6'd16 : 6'd32;
        radicand_d  = aligned[31:0];
        divisor_d   = is_root_i ? '0 : aligned[15:0];
        remainder_d = '0;
        exponent_d  = is_root_i ? shift >>> 1 : shift;
      end
      StateRoot: begin
        radicand_d  = radicand_q << 2;
        divisor_d   = {divisor_q[14:0], root_bit};
        remainder_d = {remainder_q[29:0], radicand_q[31:30]} - (root_bit ? root_trial : '0);
        if (step_q == 6'd1) begin
          state_d     = StateDivide;
          step_d      = 6'd32;
          remainder_d = '0;
        end
      end
      StateDivide: begin
        remainder_d = quotient_bit ? twice - 32'(divisor_q) : twice;
        quotient_d  = {quotient_q[15:0], quotient_bit};
        if (step_q == 6'd1) state_d = StateDone;
      end
      default: state_d = StateIdle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) state_q <= StateIdle;
    else state_q <= state_d;
  end

  always_ff @(posedge clk_i) begin
    step_q      <= step_d;
    radicand_q  <= radicand_d;
    divisor_q   <= divisor_d;
    remainder_q <= remainder_d;
    quotient_q  <= quotient_d;
    exponent_q  <= exponent_d;
  end

  assign done_o     = state_q == StateDone;
  assign mantissa_o = quotient_q;
  assign exponent_o = exponent_q;

  logic unused_bits;
  assign unused_bits = ^aligned[Width+31:32];

  `PLAIT_ASSERT(a_start_while_idle, start_i |-> state_q == StateIdle)

endmodule
