// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_counters: gives every busy cycle one cause and counts them.
// Latency:      a cycle is counted in the next.
// Throughput:   1 cycle a cycle; the counters wrap after 2^32.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_bs_counters (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                         start_i,         // clears
  input  plait_bs_machine_pkg::state_e state_i,
  input  logic                         is_loading_i,    // activations on their way
  input  logic                         issue_i,         // a term goes into the array
  input  logic                         is_filling_i,    // nothing of the tile issued yet
  input  plait_bs_machine_pkg::cause_e stall_cause_i,
  input  logic                         result_valid_i,  // a tile leaves the array

  output logic [31:0]                                         cycles_o,
  output logic [plait_bs_machine_pkg::NUM_COUNTERS-1:0][31:0] counters_o  // by cause_e
);

  logic                         busy;
  logic                         result_seen_q;  // the last tile issued has left the array
  plait_bs_machine_pkg::cause_e cause;

  assign busy = state_i != plait_bs_machine_pkg::SequencerIdle;

  always_comb begin
    cause = stall_cause_i;
    if (is_filling_i) cause = plait_bs_machine_pkg::CausePipelineFill;
    if (issue_i) cause = plait_bs_machine_pkg::CauseCompute;
    if (is_loading_i) cause = plait_bs_machine_pkg::CauseActivationLoad;
    unique case (state_i)
      plait_bs_machine_pkg::SequencerLoad,
      plait_bs_machine_pkg::SequencerStream,
      plait_bs_machine_pkg::SequencerRun: ;
      plait_bs_machine_pkg::SequencerFlush:
        cause = result_seen_q ? plait_bs_machine_pkg::CauseDrain
                              : plait_bs_machine_pkg::CauseDequantisationTail;
      default: cause = plait_bs_machine_pkg::CauseDescriptor;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      result_seen_q <= 1'b0;
      cycles_o      <= '0;
      counters_o    <= '0;
    end else begin
      if (issue_i) result_seen_q <= 1'b0;
      else if (result_valid_i) result_seen_q <= 1'b1;
      if (start_i) begin
        cycles_o   <= '0;
        counters_o <= '0;
      end else if (busy) begin
        cycles_o          <= cycles_o + 1'b1;
        counters_o[cause] <= counters_o[cause] + 1'b1;
      end
    end
  end

  `PLAIT_ASSERT(a_cause_known, busy |-> 32'(cause) < plait_bs_machine_pkg::NUM_COUNTERS)
  `PLAIT_ASSERT(a_issue_while_running,
                issue_i |-> state_i == plait_bs_machine_pkg::SequencerRun && !is_loading_i)

endmodule
