// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_special: the special function unit; runs one MISC instruction over blocks of 16 elements.
// Latency:      start_i to done_o, k blocks: elementwise k + 8 cycles, softmax 2 k + 47, RMS norm
//               2 k + 61; done_o comes with the last write.
// Throughput:   a block a cycle in each pass; start_i only while ready_o.
// Combinational paths from input to output: start_i and constants_address_i to the constants' read.
// The first pass of softmax finds the running maximum (as a whole power of two) and the sum, that of
// the norm the sum of squares; then comes one reciprocal. The operands' buffer answers a cycle later.

`include "plait_assert.svh"

module plait_sd_special #(
  localparam int unsigned AddressBits = 12,
  localparam int unsigned BlockBits = plait_sd_machine_pkg::BLOCK_BITS
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,

  input  logic                   start_i,
  output logic                   ready_o,
  output logic                   done_o,       // a pulse
  input  logic [3:0]             operation_i,  // sampled with start_i, as all of these
  input  logic [13:0]            k_blocks_i,   // at least 1
  input  logic [AddressBits-1:0] left_address_i,
  input  logic [AddressBits-1:0] right_address_i,
  input  logic [AddressBits-1:0] out_address_i,
  input  logic [AddressBits-1:0] constants_address_i,
  output logic                   is_unknown_o,  // with start_i: an operation there is not

  output logic                                     constants_enable_o,
  output logic [AddressBits-1:0]                   constants_address_o,
  input  plait_sd_machine_pkg::special_constants_t constants_i,

  output logic                   read_enable_o,
  output logic [AddressBits-1:0] left_address_o,
  output logic [AddressBits-1:0] right_address_o,
  input  logic [BlockBits-1:0]   left_i,
  input  logic [BlockBits-1:0]   right_i,

  output logic                   write_enable_o,
  output logic [AddressBits-1:0] write_address_o,
  output logic [BlockBits-1:0]   write_data_o
);

  localparam int unsigned Lanes = plait_sd_machine_pkg::LANES;
  localparam int unsigned Width = plait_sd_machine_pkg::ELEMENT_BITS;
  localparam int unsigned Fraction = plait_sd_tables_pkg::LOG_FRACTION_BITS;
  localparam int unsigned TotalBits = 50;  // sum of 2**18 squares, and epsilon
  localparam int unsigned TopBits = 22;
  localparam int unsigned LastStage = 6;

  typedef enum logic [2:0] {
    StateIdle, StateConstants, StateFirst, StateDrain, StateSum, StateReciprocal, StateSecond,
    StateFinish
  } state_e;

  state_e                                   state_d, state_q;
  logic [3:0]                               operation_q;
  plait_sd_machine_pkg::special_constants_t constants_q;
  logic [13:0]                              k_blocks_q, block_d, block_q;
  logic [AddressBits-1:0] left_address_q, right_address_q, out_address_d, out_address_q;

  logic is_softmax, is_norm, is_two_pass, is_reading, is_last_block, is_second_pass;
  logic is_known;

  assign is_softmax     = operation_q == plait_sd_machine_pkg::OPERATION_SOFTMAX;
  assign is_norm        = operation_q == plait_sd_machine_pkg::OPERATION_RMS_NORM;
  assign is_two_pass    = is_softmax || is_norm;
  assign is_reading     = state_q == StateFirst || state_q == StateSecond;
  assign is_second_pass = state_q == StateSecond || state_q == StateFinish;
  assign is_last_block  = block_q == k_blocks_q - 14'd1;

  always_comb begin
    unique case (operation_i)
      plait_sd_machine_pkg::OPERATION_ADD, plait_sd_machine_pkg::OPERATION_MUL,
      plait_sd_machine_pkg::OPERATION_SOFTMAX, plait_sd_machine_pkg::OPERATION_RMS_NORM,
      plait_sd_machine_pkg::OPERATION_SILU, plait_sd_machine_pkg::OPERATION_GELU: is_known = 1'b1;
      default: is_known = 1'b0;
    endcase
  end

  assign is_unknown_o = start_i && !is_known;

  // ---- Marks of the blocks in the lanes: stage 0 is the buffers' answer -------------------------
  logic [LastStage:0] valid_d, valid_q, last_d, last_q;
  logic [2:0]         first_d, first_q;

  assign valid_d = {valid_q[LastStage-1:0], is_reading};
  assign last_d  = {last_q[LastStage-1:0], is_reading && is_last_block};
  assign first_d = {first_q[1:0], is_reading && block_q == '0};

  // ---- Lanes ------------------------------------------------------------------------------------
  logic [Lanes-1:0][32:0] logs, squares;
  logic [Lanes-1:0][16:0] powers;
  logic [Lanes-1:0]       masked, masked_q3;
  logic signed [TopBits-1:0] top_d, top_q3;
  logic [16:0]            mantissa;
  logic signed [7:0]      exponent;
  logic [5:0]             shift_q;

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    plait_sd_special_lane u_lane (
      .clk_i,
      .operation_i     (operation_q),
      .constants_i     (constants_q),
      .is_second_pass_i(is_second_pass),
      .left_i          (left_i[i*Width +: Width]),
      .right_i         (right_i[i*Width +: Width]),
      .log_o           (logs[i]),
      .square_o        (squares[i]),
      .top_i           (top_q3),
      .is_masked_i     (masked_q3[i]),
      .power_o         (powers[i]),
      .mantissa_i      (mantissa),
      .shift_i         (shift_q),
      .result_o        (write_data_o[i*Width +: Width])
    );
    assign masked[i] = last_q[2] && constants_q.last_lanes <= 5'(i);
  end

  // ---- Softmax: the running maximum, rounded up to a whole power of two -------------------------
  logic signed [32:0]        largest;
  logic signed [TopBits-1:0] ceiling;
  logic [5:0]                fall_d, fall_q3, fall_q4;  // of the sum, where the maximum rises
  logic signed [TopBits-1:0] rise;

  always_comb begin
    largest = {1'b1, 32'd0};
    for (int unsigned i = 0; i < Lanes; i++) begin
      if (!masked[i] && signed'(logs[i]) > largest) largest = signed'(logs[i]);
    end
    ceiling = TopBits'((34'(largest) + 34'((1 << Fraction) - 1)) >>> Fraction);
    top_d   = top_q3;
    if (valid_q[2] && !is_second_pass && (first_q[2] || ceiling > top_q3)) top_d = ceiling;
    rise    = top_d - top_q3;
    fall_d  = |rise[TopBits-1:6] ? '1 : rise[5:0];
  end

  // ---- Sums of the first pass -------------------------------------------------------------------
  logic [TotalBits-1:0] total_d, total_q, part_sum;
  logic                 adds, adds_last;

  always_comb begin
    part_sum = '0;
    for (int unsigned i = 0; i < Lanes; i++) begin
      part_sum = part_sum + (is_softmax ? TotalBits'(powers[i]) : TotalBits'(squares[i][31:0]));
    end
  end

  assign adds      = !is_second_pass && (is_softmax ? valid_q[4] : valid_q[2]);
  assign adds_last = is_softmax ? last_q[4] : last_q[2];

  always_comb begin
    total_d = total_q;
    if (state_q == StateConstants) total_d = '0;
    else if (adds && is_softmax) total_d = (total_q >> fall_q4) + part_sum;
    else if (adds) total_d = total_q + part_sum;
  end

  // ---- One over the sum, or over its root -------------------------------------------------------
  logic reciprocal_done;

  plait_sd_reciprocal #(
    .Width(TotalBits)
  ) u_reciprocal (
    .clk_i,
    .rst_ni,
    .start_i   (state_q == StateSum),
    .is_root_i (is_norm),
    .number_i  (is_norm ? total_q + TotalBits'(constants_q.epsilon) : total_q),
    .done_o    (reciprocal_done),
    .mantissa_o(mantissa),
    .exponent_o(exponent)
  );

  // The shift of the second pass, 0 to 63.
  logic signed [9:0] shift_sum;

  always_comb begin
    shift_sum = 10'({4'd0, constants_q.output_shift});
    if (is_norm) shift_sum = shift_sum + 10'(exponent);
    if (is_softmax) begin
      shift_sum = 10'sd31 + 10'(exponent) - signed'({5'd0, constants_q.fraction});
    end
    if (shift_sum < 0) shift_sum = '0;
    if (shift_sum > 10'sd63) shift_sum = 10'sd63;
  end

  // ---- Control ----------------------------------------------------------------------------------
  always_comb begin
    state_d       = state_q;
    block_d       = block_q;
    out_address_d = out_address_q;
    if (is_reading) block_d = is_last_block ? '0 : block_q + 14'd1;
    if (write_enable_o) out_address_d = out_address_q + AddressBits'(1);
    unique case (state_q)
      StateIdle: if (start_i) begin
        state_d       = StateConstants;
        block_d       = '0;
        out_address_d = out_address_i;
      end
      StateConstants: state_d = is_two_pass ? StateFirst : StateSecond;
      StateFirst: if (is_last_block) state_d = StateDrain;
      StateDrain: if (adds && adds_last) state_d = StateSum;
      StateSum: state_d = StateReciprocal;
      StateReciprocal: if (reciprocal_done) state_d = StateSecond;
      StateSecond: if (is_last_block) state_d = StateFinish;
      StateFinish: if (last_q[LastStage]) state_d = StateIdle;
      default: state_d = StateIdle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StateIdle;
      valid_q <= '0;
    end else begin
      state_q <= state_d;
      valid_q <= valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    block_q       <= block_d;
    out_address_q <= out_address_d;
    last_q        <= last_d;
    first_q       <= first_d;
    top_q3        <= top_d;
    masked_q3     <= masked;
    fall_q3       <= fall_d;
    fall_q4       <= fall_q3;
    total_q       <= total_d;
    shift_q       <= shift_sum[5:0];
    if (start_i) begin
      operation_q     <= operation_i;
      k_blocks_q      <= k_blocks_i;
      left_address_q  <= left_address_i;
      right_address_q <= right_address_i;
    end
    if (state_q == StateConstants) constants_q <= constants_i;
  end

  assign ready_o             = state_q == StateIdle;
  assign done_o              = state_q == StateFinish && last_q[LastStage];
  assign constants_enable_o  = start_i;
  assign constants_address_o = constants_address_i;
  assign read_enable_o       = is_reading;
  assign left_address_o      = left_address_q + AddressBits'(block_q);
  assign right_address_o     = right_address_q + AddressBits'(block_q);
  assign write_enable_o      = is_second_pass && valid_q[LastStage];
  assign write_address_o     = out_address_q;

  logic unused_bits;
  assign unused_bits = ^{shift_sum[9:6], squares[0][32]};

  `PLAIT_ASSERT(a_start_while_ready, start_i |-> ready_o && k_blocks_i != '0)

endmodule
