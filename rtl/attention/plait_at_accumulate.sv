// SPDX-License-Identifier: Apache-2.0
//
// plait_at_accumulate: S += p and A[j] += p scale v[j] of one query head, Lanes values a cycle;
// when the reference has changed, what is there is shifted right first.
// Latency:      4 cycles from a step to its accumulators.
// Throughput:   1 step of Lanes values a cycle, also from token to token.
// Combinational paths from input to output: from read_step_i to accumulators_o.
// Width:        2^CONTEXT_BITS tokens of the largest weight and value fit; nothing wraps.

`include "plait_assert.svh"

module plait_at_accumulate #(
  parameter int unsigned Lanes = 16,
  parameter int unsigned Steps = 4,
  localparam int unsigned IndexBits = Steps > 1 ? $clog2(Steps) : 1
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                           valid_i,
  input  logic [IndexBits-1:0]                           step_i,   // 0 begins a token
  input  logic                                           first_i,  // token of its job
  input  logic [5:0]                                     change_i,
  input  logic [plait_at_pkg::FRACTION_BITS:0]           probability_i,
  input  logic [15:0]                                    scale_i,        // FP16, finite, positive
  input  logic [5:0]                                     value_shift_i,  // hold during a job
  input  logic [Lanes-1:0][plait_at_pkg::VALUE_BITS-1:0] values_i,

  input  logic [IndexBits-1:0]                                 read_step_i,
  output logic [Lanes-1:0][plait_at_pkg::ACCUMULATOR_BITS-1:0] accumulators_o,
  output logic [plait_at_pkg::SUM_BITS-1:0]                    sum_o,
  output logic                                                 bad_scale_o  // with valid_i
);

  localparam int unsigned FractionBits = plait_at_pkg::FRACTION_BITS;
  localparam int unsigned WeightBits = plait_at_pkg::WEIGHT_BITS;
  localparam int unsigned SumBits = plait_at_pkg::SUM_BITS;
  localparam int unsigned AccumulatorBits = plait_at_pkg::ACCUMULATOR_BITS;
  localparam int unsigned ValueBits = plait_at_pkg::VALUE_BITS;
  localparam int unsigned ProductBits = WeightBits + 1 + ValueBits;

  logic                      is_normal;
  logic [10:0]               mantissa;
  logic [4:0]                exponent;
  logic [5:0]                count;
  logic [FractionBits+11:0]  product_q;
  logic [5:0]                count_q;
  logic [WeightBits-1:0]     weight_q;

  assign is_normal = scale_i[14:10] != '0;
  assign mantissa = {is_normal, scale_i[9:0]};
  assign exponent = is_normal ? scale_i[14:10] : 5'd1;
  assign count = value_shift_i - 6'(exponent);
  assign bad_scale_o = valid_i
      && (value_shift_i < 6'(exponent) + 6'(plait_at_pkg::VALUE_DROP) || exponent == 5'd31);

  logic unused_sign;
  assign unused_sign = scale_i[15];

  // Marks and operands travel with the weight.
  logic [3:1]                      valid_q, first_q;
  logic [3:1][IndexBits-1:0]       step_q;
  logic [3:1][5:0]                 change_q;
  logic [2:1][Lanes*ValueBits-1:0] values_q;
  logic [FractionBits:0]           probability_q, probability_q2, probability_q3;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[2:1], valid_i};
  end

  always_ff @(posedge clk_i) begin
    first_q        <= {first_q[2:1], first_i};
    step_q         <= {step_q[2:1], step_i};
    change_q       <= {change_q[2:1], change_i};
    values_q       <= {values_q[1], values_i};
    probability_q  <= probability_i;
    probability_q2 <= probability_q;
    probability_q3 <= probability_q2;
    product_q      <= (FractionBits + 12)'(probability_i) * (FractionBits + 12)'(mantissa);
    count_q        <= count;
    weight_q       <= WeightBits'(product_q >> count_q);
  end

  // ---- Accumulators: a row of Lanes a step --------------------------------------------------------
  logic [Lanes-1:0][AccumulatorBits-1:0] rows_q [Steps];
  logic [Lanes-1:0][AccumulatorBits-1:0] row, next_row;
  logic [Lanes-1:0][ProductBits-1:0]     products_q;
  logic [SumBits-1:0]                    sum_q;

  assign row = rows_q[step_q[3]];

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic signed [ValueBits-1:0]       value;
    logic signed [WeightBits:0]        weight;
    logic signed [AccumulatorBits-1:0] held, shifted;
    logic signed [ProductBits-1:0]     product;
    assign value = values_q[2][lane*ValueBits +: ValueBits];
    assign weight = {1'b0, weight_q};
    assign held = row[lane];
    assign shifted = held >>> change_q[3];
    assign product = products_q[lane];
    assign next_row[lane] = (first_q[3] ? '0 : shifted) + AccumulatorBits'(product);
    always_ff @(posedge clk_i) begin
      products_q[lane] <= ProductBits'(weight) * ProductBits'(value);
    end
  end

  always_ff @(posedge clk_i) begin
    if (valid_q[3]) begin
      rows_q[step_q[3]] <= next_row;
      if (step_q[3] == '0) begin
        sum_q <= (first_q[3] ? '0 : sum_q >> change_q[3]) + SumBits'(probability_q3);
      end
    end
  end

  assign accumulators_o = rows_q[read_step_i];
  assign sum_o          = sum_q;

`ifndef SYNTHESIS
  // What must not be lost: the bound in the header, against one bit more.
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_bound
    logic signed [AccumulatorBits:0]   wide;
    logic signed [AccumulatorBits-1:0] held, shifted, after;
    logic signed [ProductBits-1:0]     product;
    assign held = row[lane];
    assign shifted = held >>> change_q[3];
    assign after = next_row[lane];
    assign product = products_q[lane];
    assign wide = (first_q[3] ? '0 : (AccumulatorBits + 1)'(shifted)) + (AccumulatorBits + 1)'(product);
    `PLAIT_ASSERT(a_accumulator_fits, valid_q[3] |-> wide == (AccumulatorBits + 1)'(after))
  end
`endif

endmodule
