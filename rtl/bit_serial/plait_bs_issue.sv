// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_issue: decides, cycle by cycle, which term goes into the array: for every output tile of
// a token tile all groups, of every group all steps, of every step all terms of its weights.
// Latency:      0 cycles from step_available_i to issue_o, 1 from tile_drained_i; the description
//               of a term for the array (array_*_o) follows issue_o by 2 cycles, as the data do
//               that the buffers deliver.
// Throughput:   1 term a cycle.
// Combinational paths from input to output: step_available_i to issue_o, *_read_o, finished_o,
//               stall_cause_o.
// A term waits for three things: its step in the weight buffer; at the end of a group, that the
// dequantiser took ScaleBits cycles for the group before; at the end of a tile, that the output
// register is empty.

`include "plait_assert.svh"

module plait_bs_issue #(
  parameter int unsigned ScaleBits = 8
) (
  input  logic clk_i,
  input  logic rst_ni,

  // Constant from start_i to finished_o.
  input  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0] last_term_i,
  input  logic [31:0]                              steps_per_group_i,
  input  logic [31:0]                              last_group_steps_i,
  input  logic [31:0]                              groups_i,
  input  logic [31:0]                              output_tiles_i,

  input  logic start_i,     // begin a token tile
  output logic finished_o,  // its last term is issued in this cycle

  input  logic        step_available_i,
  output logic        step_read_o,       // take a step of weights and activations
  output logic        group_read_o,      // and with it the group's header
  output logic [31:0] step_o,            // of the tile, for the activations
  input  logic        tile_drained_i,    // the output register becomes empty
  output logic        output_busy_o,     // it will have a tile, or has

  output logic                         issue_o,
  output logic                         is_filling_o,   // nothing of the token tile issued yet
  output plait_bs_machine_pkg::cause_e stall_cause_o,  // while neither issuing nor filling

  output logic                                     array_term_valid_o,
  output logic [plait_bs_pkg::TERM_INDEX_BITS-1:0] array_term_index_o,
  output logic                                     array_group_first_o,  // a group's first term
  output logic                                     array_group_last_o,   // last step's last term
  output logic                                     array_tile_first_o,   // all of a first group
  output logic                                     array_tile_last_o     // all of a last group
);

  localparam int unsigned GapWidth = $clog2(ScaleBits + 1);

  typedef struct packed {
    logic [plait_bs_pkg::TERM_INDEX_BITS-1:0] term_index;
    logic                                     group_first;
    logic                                     group_last;
    logic                                     tile_first;
    logic                                     tile_last;
  } term_place_t;

  logic                                     active_d, active_q;
  logic                                     filling_d, filling_q;
  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0] term_d, term_q;
  logic [31:0]                              step_d, step_q;                // of the tile
  logic [31:0]                              group_step_d, group_step_q;
  logic [31:0]                              group_d, group_q;
  logic [31:0]                              tile_d, tile_q;
  logic [GapWidth-1:0]                      gap_d, gap_q;  // cycles until the dequantiser is free
  logic                                     output_busy_d, output_busy_q;

  logic is_first_term, is_last_term, is_first_step, is_last_step;
  logic is_first_group, is_last_group, is_last_tile;
  logic is_group_end, is_tile_end;
  logic waits_for_step, waits_for_dequantiser, waits_for_output;

  assign is_first_term  = term_q == '0;
  assign is_last_term   = term_q == last_term_i;
  assign is_first_step  = group_step_q == '0;
  assign is_last_step   =
      group_step_q == (is_last_group ? last_group_steps_i : steps_per_group_i) - 1'b1;
  assign is_first_group = group_q == '0;
  assign is_last_group  = group_q == groups_i - 1'b1;
  assign is_last_tile   = tile_q == output_tiles_i - 1'b1;
  assign is_group_end   = is_last_term && is_last_step;
  assign is_tile_end    = is_group_end && is_last_group;

  assign waits_for_step        = is_first_term && !step_available_i;
  assign waits_for_dequantiser = is_group_end && gap_q != '0;
  assign waits_for_output      = is_tile_end && output_busy_q;

  assign issue_o = active_q && !waits_for_step && !waits_for_dequantiser && !waits_for_output;
  assign step_read_o  = issue_o && is_first_term;
  assign group_read_o = step_read_o && is_first_step;
  assign step_o       = step_q;
  assign finished_o   = issue_o && is_tile_end && is_last_tile;
  assign is_filling_o  = filling_q;
  assign output_busy_o = output_busy_q;

  always_comb begin
    stall_cause_o = plait_bs_machine_pkg::CauseOutputStall;
    if (waits_for_dequantiser) stall_cause_o = plait_bs_machine_pkg::CauseDequantisationStall;
    if (waits_for_step) stall_cause_o = plait_bs_machine_pkg::CauseMemoryStall;
  end

  always_comb begin
    active_d      = active_q;
    filling_d     = filling_q;
    term_d        = term_q;
    step_d        = step_q;
    group_step_d  = group_step_q;
    group_d       = group_q;
    tile_d        = tile_q;
    gap_d         = gap_q == '0 ? '0 : gap_q - 1'b1;
    output_busy_d = output_busy_q && !tile_drained_i;
    if (start_i) begin
      active_d     = 1'b1;
      filling_d    = 1'b1;
      term_d       = '0;
      step_d       = '0;
      group_step_d = '0;
      group_d      = '0;
      tile_d       = '0;
    end
    if (issue_o) begin
      filling_d = 1'b0;
      term_d    = is_last_term ? '0 : term_q + 1'b1;
      if (is_last_term) begin
        step_d       = step_q + 1'b1;
        group_step_d = is_last_step ? '0 : group_step_q + 1'b1;
      end
      if (is_group_end) begin
        gap_d   = GapWidth'(ScaleBits - 1);
        group_d = is_last_group ? '0 : group_q + 1'b1;
      end
      if (is_tile_end) begin
        output_busy_d = 1'b1;
        step_d        = '0;
        tile_d        = tile_q + 1'b1;
        active_d      = !is_last_tile;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q      <= 1'b0;
      filling_q     <= 1'b0;
      gap_q         <= '0;
      output_busy_q <= 1'b0;
    end else begin
      active_q      <= active_d;
      filling_q     <= filling_d;
      gap_q         <= gap_d;
      output_busy_q <= output_busy_d;
    end
  end

  always_ff @(posedge clk_i) begin
    term_q       <= term_d;
    step_q       <= step_d;
    group_step_q <= group_step_d;
    group_q      <= group_d;
    tile_q       <= tile_d;
  end

  // ---- The term's description follows the data through the buffers ------------------------------
  logic        valid_q, valid_q2;
  term_place_t place_q, place_q2;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q  <= 1'b0;
      valid_q2 <= 1'b0;
    end else begin
      valid_q  <= issue_o;
      valid_q2 <= valid_q;
    end
  end

  always_ff @(posedge clk_i) begin
    place_q.term_index  <= term_q;
    place_q.group_first <= is_first_term && is_first_step;
    place_q.group_last  <= is_group_end;
    place_q.tile_first  <= is_first_group;
    place_q.tile_last   <= is_last_group;
    place_q2            <= place_q;
  end

  assign array_term_valid_o  = valid_q2;
  assign array_term_index_o  = place_q2.term_index;
  assign array_group_first_o = place_q2.group_first;
  assign array_group_last_o  = place_q2.group_last;
  assign array_tile_first_o  = place_q2.tile_first;
  assign array_tile_last_o   = place_q2.tile_last;

  `PLAIT_ASSERT(a_start_while_idle, start_i |-> !active_q)
  `PLAIT_ASSERT(a_drained_was_busy, tile_drained_i |-> output_busy_q)

endmodule
