// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_special_lane: one element a cycle through the special functions.
// Latency:      operands to log_o and square_o 2 cycles, to power_o 4, to result_o 6; top_i and what
//               comes with it belong to the element that entered 3 cycles before.
// Throughput:   1 element a cycle; no stall, the unit around it keeps the valid marks.
// Combinational paths from input to output: none.
// Values: plait.models.golden.special_functions, bit for bit.

module plait_sd_special_lane (
  input  logic                                     clk_i,

  // Held for a whole instruction.
  input  logic [3:0]                               operation_i,
  input  plait_sd_machine_pkg::special_constants_t constants_i,
  input  logic                                     is_second_pass_i,

  input  logic signed [plait_sd_machine_pkg::ELEMENT_BITS-1:0] left_i,
  input  logic signed [plait_sd_machine_pkg::ELEMENT_BITS-1:0] right_i,
  output logic signed [32:0]                       log_o,     // softmax: exponent to base two
  output logic signed [32:0]                       square_o,  // norm, first pass

  input  logic signed [21:0]                       top_i,     // softmax: whole exponent of 1
  input  logic                                     is_masked_i,  // softmax: not an element
  output logic [16:0]                              power_o,

  input  logic [16:0]                              mantissa_i,  // second pass
  input  logic [5:0]                               shift_i,
  output logic signed [plait_sd_machine_pkg::ELEMENT_BITS-1:0] result_o
);

  localparam int unsigned Fraction = plait_sd_tables_pkg::LOG_FRACTION_BITS;
  localparam int unsigned SegmentBits = Fraction - $clog2(plait_sd_tables_pkg::EXPONENTIAL_SEGMENTS);
  // An argument of 16 or more in magnitude counts as just below it.
  localparam int unsigned GateBits = plait_sd_tables_pkg::GATE_FRACTION_BITS + 4;
  localparam int unsigned GateSegmentBits = GateBits - $clog2(plait_sd_tables_pkg::SIGMOID_SEGMENTS);
  localparam logic [32:0] GateLimit = (33'd1 << GateBits) - 33'd1;

  logic is_add, is_mul, is_softmax, is_norm, is_normal;

  assign is_add     = operation_i == plait_sd_machine_pkg::OPERATION_ADD;
  assign is_mul     = operation_i == plait_sd_machine_pkg::OPERATION_MUL;
  assign is_softmax = operation_i == plait_sd_machine_pkg::OPERATION_SOFTMAX;
  assign is_norm    = operation_i == plait_sd_machine_pkg::OPERATION_RMS_NORM;
  assign is_normal  = operation_i == plait_sd_machine_pkg::OPERATION_GELU;

  // ---- Stage 1: two products --------------------------------------------------------------------
  logic signed [16:0] factor_a, factor_b;
  logic signed [15:0] other;
  logic signed [32:0] product_a_q, product_b_q;

  always_comb begin
    factor_a = {1'b0, constants_i.multiplier_a};
    if (is_mul) factor_a = 17'(right_i);
    if (is_norm) factor_a = is_second_pass_i ? 17'(right_i) : 17'(left_i);
    factor_b = {1'b0, constants_i.multiplier_b};
    other    = is_add ? right_i : left_i;
  end

  always_ff @(posedge clk_i) begin
    product_a_q <= left_i * factor_a;
    product_b_q <= other * factor_b;
  end

  // ---- Stage 2: a sum, or an argument -----------------------------------------------------------
  logic signed [33:0] carried_d, carried_q2;
  logic signed [32:0] argument_q2;

  always_comb begin
    carried_d = 34'(product_b_q);
    if (is_add) carried_d = 34'(product_a_q) + 34'(product_b_q);
    if (is_mul || is_norm) carried_d = 34'(product_a_q);
  end

  always_ff @(posedge clk_i) begin
    carried_q2  <= carried_d;
    argument_q2 <= product_a_q >>> constants_i.input_shift;
  end

  assign log_o    = argument_q2;
  assign square_o = carried_q2[32:0];

  // ---- Stage 3: the running maximum is found outside ---------------------------------------------
  logic signed [33:0] carried_q3;
  logic signed [32:0] argument_q3;

  always_ff @(posedge clk_i) begin
    carried_q3  <= carried_q2;
    argument_q3 <= argument_q2;
  end

  // ---- Stage 4: a line through two entries of a table -------------------------------------------
  logic [34:0]        distance;
  logic [32:0]        magnitude, gate_argument;
  logic [8:0]         gate_border;
  logic [6:0]         step_border;
  logic [16:0]        low, high;
  logic signed [17:0] rise;
  logic [8:0]         rest;
  logic signed [27:0] product, part;
  logic [16:0]        interpolated, weight_d, weight_q4;
  logic signed [33:0] carried_q4;

  assign distance      = 35'(signed'({top_i, {Fraction{1'b0}}})) - 35'(argument_q3);
  assign magnitude     = argument_q3[32] ? -argument_q3 : argument_q3;
  assign gate_argument = magnitude > GateLimit ? GateLimit : magnitude;

  assign gate_border = 9'(gate_argument[GateBits-1:GateSegmentBits]);
  assign step_border = 7'(distance[Fraction-1:SegmentBits]);

  always_comb begin
    rest = 9'(gate_argument[GateSegmentBits-1:0]);
    if (is_softmax) begin
      low  = plait_sd_tables_pkg::exponential(step_border);
      high = plait_sd_tables_pkg::exponential(step_border + 7'd1);
      rest = 9'(distance[SegmentBits-1:0]);
    end else if (is_normal) begin
      low  = plait_sd_tables_pkg::normal(gate_border);
      high = plait_sd_tables_pkg::normal(gate_border + 9'd1);
    end else begin
      low  = plait_sd_tables_pkg::sigmoid(gate_border);
      high = plait_sd_tables_pkg::sigmoid(gate_border + 9'd1);
    end
  end

  assign rise         = signed'({1'b0, high}) - signed'({1'b0, low});
  assign product      = 28'(rise) * signed'({19'd0, rest});
  assign part         = is_softmax ? product >>> SegmentBits : product >>> GateSegmentBits;
  assign interpolated = 17'(28'({1'b0, low}) + part);

  always_comb begin
    weight_d = argument_q3[32] ? 17'(1 << plait_sd_tables_pkg::UNIT_BITS) - interpolated
                               : interpolated;
    if (is_softmax) begin
      weight_d = interpolated >> distance[Fraction+4:Fraction];
      if (is_masked_i || |distance[34:Fraction+5]) weight_d = '0;
    end
  end

  always_ff @(posedge clk_i) begin
    carried_q4 <= carried_q3;
    weight_q4  <= weight_d;
  end

  assign power_o = weight_q4;

  // ---- Stage 5: the last product ----------------------------------------------------------------
  logic signed [33:0] multiplicand;
  logic [16:0]        multiplier;
  logic signed [51:0] product_q5;

  always_comb begin
    multiplicand = is_softmax ? 34'({1'b0, weight_q4}) : carried_q4;
    multiplier   = weight_q4;
    if (is_add) multiplier = 17'd1;
    if (is_mul) multiplier = {1'b0, constants_i.multiplier_a};
    if (is_softmax || is_norm) multiplier = mantissa_i;
  end

  always_ff @(posedge clk_i) product_q5 <= multiplicand * signed'({1'b0, multiplier});

  // ---- Stage 6 ----------------------------------------------------------------------------------
  logic signed [15:0] result_d, result_q6;

  plait_sd_round #(
    .Width(52)
  ) u_round (
    .product_i(product_q5),
    .shift_i  (shift_i),
    .is_int8_i(constants_i.is_int8),
    .result_o (result_d)
  );

  always_ff @(posedge clk_i) result_q6 <= result_d;

  assign result_o = result_q6;

  logic unused_bits;
  assign unused_bits = ^{constants_i.output_shift, constants_i.last_lanes, constants_i.fraction,
                         constants_i.epsilon, carried_q2[33], gate_argument[32:GateBits],
                         part[27:17]};

endmodule
