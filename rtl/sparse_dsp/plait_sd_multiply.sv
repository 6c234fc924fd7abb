// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_multiply: runs MM and MV instructions: 16 outputs over some K blocks, for Rows rows or one.
// Latency:      start_i to done_o: 1 cycle, n / 2 for each block that keeps n weights of 16 (a block
//               that keeps none takes 1), and where the sum is closed DOT_LATENCY + 6 (MV) or
//               DOT_LATENCY + 2 + 4 Rows (MM) more.
// Throughput:   one instruction at a time; start_i only while ready_o.
// Combinational paths: the marks of kept weights (fsb_data_i) to the buffers' reads.
//
// MV reads weights from A and the row from B; MM reads the rows from the banks of A and weights from
// B. The sums stay open from instruction to instruction until one has `output`: it closes them, adds
// the bias if an instruction of the sum asked for it, and writes the rows to the global buffer as
// 16-bit elements. Bias, multiplier and shift of four outputs share a word of the bias buffer.

`include "plait_assert.svh"

module plait_sd_multiply #(
  parameter int unsigned Rows = 4,
  parameter bit          Dsp48e2 = 1'b0,  // instantiate the primitive of UltraScale+
  localparam int unsigned WordBits = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                            start_i,
  input  logic                            is_mm_i,
  input  plait_sd_machine_pkg::multiply_t multiply_i,
  output logic                            ready_o,
  output logic                            done_o,   // a pulse
  output logic                            is_mm_o,  // whose

  // The buffers answer a cycle later, that of kept weights at once.
  output logic                            read_enable_o,
  output logic [11:0]                     a_address_o,
  output logic [11:0]                     b_address_o,
  output logic [11:0]                     meta_address_o,
  output logic [16:0]                     fsb_address_o,  // in blocks
  input  logic [WordBits-1:0]             weights_a_i,    // MV
  input  logic [Rows-1:0][WordBits-1:0]   rows_a_i,       // MM: an entry of each bank
  input  logic [WordBits-1:0]             b_i,
  input  logic [WordBits-1:0]             meta_i,
  input  logic [7:0]                      fsb_data_i,

  output logic                bias_enable_o,
  output logic [11:0]         bias_address_o,
  input  logic [WordBits-1:0] bias_i,

  output logic                write_enable_o,
  output logic [11:0]         write_address_o,
  output logic [WordBits-1:0] write_data_o
);

  localparam int unsigned Block = 16;
  localparam int unsigned Group = 32;
  localparam int unsigned SumBits = 32;
  localparam int unsigned RowBits = Rows > 1 ? $clog2(Rows) : 1;
  localparam int unsigned PerWord = 4;  // outputs of a bias word
  localparam int unsigned ChannelBits = WordBits / PerWord;

  typedef enum logic [1:0] {StateIdle, StateRun, StateDrain, StateOutput} state_e;

  // A quarter of a bias word.
  typedef struct packed {
    logic [8:0]  unused;
    logic        is_int8;
    logic [5:0]  shift;
    logic [15:0] multiplier;
    logic [31:0] bias;
  } channel_t;

  state_e                          state_d, state_q;
  plait_sd_machine_pkg::multiply_t multiply_q;
  logic                            is_mm_q;
  logic [13:0]                     block_d, block_q;
  logic [2:0]                      pass_d, pass_q;
  logic [11:0]                     word_d, word_q;    // of weights
  logic [1:0]                      slice_d, slice_q;  // group of that word
  // Of the sum: an instruction of it has begun; a group is in the accumulators; it has a bias.
  logic                            begun_d, begun_q, open_d, open_q, bias_d, bias_q;

  // ---- Which group comes next -------------------------------------------------------------------
  logic [4:0] kept;
  logic       issues, is_last_pass, is_last_block, is_last_slice;

  assign kept          = multiply_q.sparse ? fsb_data_i[4:0] : 5'd16;
  assign issues        = state_q == StateRun && kept != '0;
  assign is_last_pass  = kept == '0 || pass_q == 3'((kept >> 1) - 5'd1);
  assign is_last_block = block_q == multiply_q.k_blocks - 14'd1;

  always_comb begin
    unique case (multiply_q.weight_format)
      2'd0:    is_last_slice = 1'b1;
      2'd3:    is_last_slice = slice_q == 2'd3;
      default: is_last_slice = slice_q == 2'd1;
    endcase
  end

  // ---- Output steps: four outputs of a row each -------------------------------------------------
  logic [RowBits-1:0] row_d, row_q;
  logic [1:0]         quarter_d, quarter_q;
  logic [4:0]         wait_d, wait_q;  // for the array
  logic               is_last_wait;
  logic               is_last_row, output_ends;

  assign is_last_wait = wait_q == 5'(plait_sd_machine_pkg::DOT_LATENCY - 1);
  assign is_last_row  = !is_mm_q || row_q == RowBits'(Rows - 1);

  always_comb begin
    state_d   = state_q;
    block_d   = block_q;
    pass_d    = pass_q;
    word_d    = word_q;
    slice_d   = slice_q;
    begun_d   = begun_q;
    open_d    = open_q;
    bias_d    = bias_q;
    row_d     = row_q;
    quarter_d = quarter_q;
    wait_d    = wait_q;
    unique case (state_q)
      StateIdle: if (start_i) begin
        state_d = StateRun;
        block_d = '0;
        pass_d  = '0;
        word_d  = is_mm_i ? multiply_i.b_address : multiply_i.a_address;
        slice_d = '0;
        bias_d  = multiply_i.bias || (begun_q && bias_q);
        begun_d = 1'b1;
        row_d   = '0;
        wait_d  = '0;
        quarter_d = '0;
      end
      StateRun: begin
        if (issues) begin
          open_d  = 1'b1;
          pass_d  = is_last_pass ? '0 : pass_q + 3'd1;
          slice_d = is_last_slice ? '0 : slice_q + 2'd1;
          if (is_last_slice) word_d = word_q + 12'd1;
        end
        if (is_last_pass) begin
          block_d = block_q + 14'd1;
          if (is_last_block) state_d = multiply_q.output_last ? StateDrain : StateIdle;
        end
      end
      StateDrain: begin
        wait_d = wait_q + 5'd1;
        if (is_last_wait) state_d = StateOutput;
      end
      default: begin
        if (!output_ends) begin
          quarter_d = quarter_q + 2'd1;
          if (quarter_q == 2'd3) row_d = row_q + RowBits'(1);
        end
        if (done_o) begin
          state_d = StateIdle;
          open_d  = 1'b0;
          begun_d = 1'b0;
        end
      end
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StateIdle;
      begun_q <= 1'b0;
      open_q  <= 1'b0;
    end else begin
      state_q <= state_d;
      begun_q <= begun_d;
      open_q  <= open_d;
    end
  end

  always_ff @(posedge clk_i) begin
    block_q   <= block_d;
    pass_q    <= pass_d;
    word_q    <= word_d;
    slice_q   <= slice_d;
    bias_q    <= bias_d;
    row_q     <= row_d;
    quarter_q <= quarter_d;
    wait_q    <= wait_d;
    if (start_i) begin
      multiply_q <= multiply_i;
      is_mm_q    <= is_mm_i;
    end
  end

  assign read_enable_o  = issues;
  assign a_address_o    = is_mm_q ? multiply_q.a_address + 12'(block_q) : word_q;
  assign b_address_o    = is_mm_q ? word_q : multiply_q.b_address + 12'(block_q);
  assign meta_address_o = multiply_q.meta_address + 12'(block_q);
  assign fsb_address_o  = {multiply_q.fsb_address, 5'd0} + 17'(block_q);

  // ---- The buffers' answer: operands of the array -----------------------------------------------
  logic                             valid_q, first_q;
  logic [4:0]                       kept_q;
  logic [2:0]                       group_pass_q;
  logic [1:0]                       group_slice_q;
  logic [Group-1:0][7:0]            weights;
  logic [Group-1:0][3:0]            places;
  logic [Rows-1:0][Block-1:0][7:0]  window;
  logic [Rows-1:0][Block-1:0][SumBits-1:0] sums;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= 1'b0;
    else valid_q <= issues;
  end

  always_ff @(posedge clk_i) begin
    first_q       <= !open_q;
    kept_q        <= kept;
    group_pass_q  <= pass_q;
    group_slice_q <= slice_q;
  end

  plait_sd_weights u_weights (
    .word_i   (is_mm_q ? b_i : weights_a_i),
    .slice_i  (group_slice_q),
    .format_i (multiply_q.weight_format),
    .kept_i   (kept_q),
    .pass_i   (group_pass_q),
    .masks_i  (meta_i),
    .weights_o(weights),
    .places_o (places)
  );

  // INT8 activations are the low bytes of 16-bit elements.
  always_comb begin
    window = '0;
    for (int unsigned r = 0; r < Rows; r++) begin
      for (int unsigned k = 0; k < Block; k++) begin
        if (is_mm_q) window[r][k] = rows_a_i[r][16*k +: 8];
        else if (r == 0) window[r][k] = b_i[16*k +: 8];
      end
    end
  end

  plait_sd_dot_array #(
    .Rows   (Rows),
    .Dsp48e2(Dsp48e2)
  ) u_array (
    .clk_i,
    .rst_ni,
    .valid_i       (valid_q),
    .first_i       (first_q),
    .kept_i        (kept_q),
    .pass_i        (group_pass_q),
    .weights_i     (weights),
    .places_i      (places),
    .window_i      (window),
    .accumulators_o(sums)
  );

  // ---- Bias, multiplier, rounding: four outputs a cycle -----------------------------------------
  logic                         steps, steps_q, steps_q2, ends_row_q, ends_row_q2, ends_q, ends_q2;
  logic [1:0]                   next_quarter, quarter_q1, quarter_q2;
  logic [Block-1:0][15:0]       row_elements_q, row_elements;
  logic [PerWord-1:0][15:0]     rounded;
  logic [11:0]                  out_address_q;

  assign steps          = state_q == StateOutput && !output_ends;
  assign next_quarter   = quarter_q + 2'd1;
  assign bias_enable_o  = (state_q == StateDrain && is_last_wait) || steps;
  assign bias_address_o = multiply_q.bias_address
                        + 12'(state_q == StateOutput ? next_quarter : 2'd0);

  // Set behind the last step, until the last row is written.
  logic ended_d, ended_q;
  assign output_ends = ended_q;

  always_comb begin
    ended_d = ended_q;
    if (steps && quarter_q == 2'd3 && is_last_row) ended_d = 1'b1;
    if (state_q != StateOutput) ended_d = 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      steps_q  <= 1'b0;
      steps_q2 <= 1'b0;
      ended_q  <= 1'b0;
    end else begin
      steps_q  <= steps;
      steps_q2 <= steps_q;
      ended_q  <= ended_d;
    end
  end

  always_ff @(posedge clk_i) begin
    ends_row_q  <= steps && quarter_q == 2'd3;
    ends_row_q2 <= ends_row_q;
    ends_q      <= steps && quarter_q == 2'd3 && is_last_row;
    ends_q2     <= ends_q;
    quarter_q1  <= quarter_q;
    quarter_q2  <= quarter_q1;
    if (steps_q2) row_elements_q <= row_elements;
    if (start_i) out_address_q <= multiply_i.out_address;
    else if (write_enable_o) out_address_q <= out_address_q + 12'd1;
  end

  for (genvar i = 0; i < PerWord; i++) begin : gen_output
    channel_t           channel, channel_q, channel_q2;
    logic [SumBits-1:0] sum;
    logic signed [32:0] biased_q;
    logic signed [49:0] product_q;
    logic               unused_bits;

    assign channel = bias_i[ChannelBits*i +: ChannelBits];
    assign sum     = sums[row_q][{quarter_q, 2'(i)}];

    always_ff @(posedge clk_i) begin
      channel_q  <= channel;
      channel_q2 <= channel_q;
      biased_q   <= (open_q ? 33'(signed'(sum)) : '0)
                  + (bias_q ? 33'(signed'(channel.bias)) : '0);
      product_q  <= 50'(biased_q) * 50'(signed'({1'b0, channel_q.multiplier}));
    end

    plait_sd_round #(
      .Width(52)
    ) u_round (
      .product_i(52'(product_q)),
      .shift_i  (channel_q2.shift),
      .is_int8_i(channel_q2.is_int8),
      .result_o (rounded[i])
    );

    assign unused_bits = ^{channel_q2.unused, channel_q2.multiplier, channel_q2.bias};
  end

  always_comb begin
    row_elements = row_elements_q;
    for (int unsigned i = 0; i < PerWord; i++) begin
      row_elements[{quarter_q2, 2'(i)}] = multiply_q.relu && rounded[i][15] ? '0 : rounded[i];
    end
  end

  assign ready_o         = state_q == StateIdle;
  assign is_mm_o         = is_mm_q;
  assign done_o          = (steps_q2 && ends_q2)
                        || (state_q == StateRun && is_last_pass && is_last_block
                            && !multiply_q.output_last);
  assign write_enable_o  = steps_q2 && ends_row_q2;
  assign write_address_o = out_address_q;
  assign write_data_o    = row_elements;

  logic unused_bits;
  always_comb begin
    unused_bits = ^{multiply_q.unused_high, multiply_q.unused_middle, multiply_q.head,
                    multiply_q.out_address, multiply_q.bias, fsb_data_i[7:5]};
    for (int unsigned r = 0; r < Rows; r++) unused_bits = unused_bits ^ (^rows_a_i[r]);
    unused_bits = unused_bits ^ (^b_i);
  end

  `PLAIT_ASSERT(a_start_while_ready, start_i |-> ready_o && multiply_i.k_blocks != '0)
  `PLAIT_ASSERT(a_kept_exists, issues |-> kept == 5'd2 || kept == 5'd4 || kept == 5'd8
                                       || kept == 5'd16)

endmodule
