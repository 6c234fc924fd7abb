// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_core: the bit-serial machine: memory port, buffers, sequencer, array and output stage.
// start_i begins the list of descriptors at descriptor_address_i (an address counts words of the
// port); done_o follows its end by one cycle. Errors and counters are those since start_i.
// Latency and throughput: plait.sim.families._bit_serial_recurrence states every cycle; the counters
//               equal it. Read and write channel of the port are independent.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_bs_core #(
  parameter int unsigned Rows = 8,
  parameter int unsigned Columns = 4,
  parameter int unsigned Lanes = 4,
  parameter int unsigned GuardBits = 3,
  parameter int unsigned AccumulatorBits = 15,
  parameter int unsigned OutputAccumulatorBits = 32,
  parameter int unsigned ScaleBits = 8,
  parameter int unsigned PortBits = 256,
  parameter int unsigned WeightBufferSteps = 64,
  parameter int unsigned ScaleBufferGroups = 16,
  parameter int unsigned ActivationBufferSteps = 1024
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                                start_i,     // only while not busy
  input  logic [31:0]                                         descriptor_address_i,
  output logic                                                busy_o,
  output logic                                                done_o,
  output plait_bs_machine_pkg::state_e                        state_o,
  output logic [plait_bs_machine_pkg::NUM_ERRORS-1:0]         error_o,     // by ERROR_*
  output logic [31:0]                                         cycles_o,    // busy cycles ...
  output logic [plait_bs_machine_pkg::NUM_COUNTERS-1:0][31:0] counters_o,  // ... by cause_e

  output logic                mem_read_request_valid_o,
  input  logic                mem_read_request_ready_i,
  output logic [31:0]         mem_read_request_address_o,
  output logic [15:0]         mem_read_request_length_o,
  input  logic                mem_read_valid_i,
  output logic                mem_read_ready_o,
  input  logic [PortBits-1:0] mem_read_data_i,

  output logic                mem_write_valid_o,
  input  logic                mem_write_ready_i,
  output logic [31:0]         mem_write_address_o,
  output logic [PortBits-1:0] mem_write_data_o
);

  // Of a result: the output accumulator, wide enough for both kinds of activations.
  localparam int unsigned MantissaBits =
      OutputAccumulatorBits > plait_bs_pkg::INTEGER_OUTPUT_BITS ? OutputAccumulatorBits
                                                                : plait_bs_pkg::INTEGER_OUTPUT_BITS;

  plait_bs_machine_pkg::matmul_t matmul;
  logic                          bad_descriptor, descriptor_start, token_tile_start, is_loading;

  // ---- Memory port: reads -----------------------------------------------------------------------
  logic                job_valid, job_ready;
  logic [31:0]         job_address;
  logic [31:0]         job_words;
  logic                word_valid, word_ready;
  logic [PortBits-1:0] word_data;

  plait_bs_reader #(
    .PortBits(PortBits)
  ) u_reader (
    .clk_i,
    .rst_ni,
    .job_valid_i  (job_valid),
    .job_ready_o  (job_ready),
    .job_address_i(job_address),
    .job_words_i  (job_words),
    .mem_read_request_valid_o,
    .mem_read_request_ready_i,
    .mem_read_request_address_o,
    .mem_read_request_length_o,
    .mem_read_valid_i,
    .mem_read_ready_o,
    .mem_read_data_i,
    .word_valid_o (word_valid),
    .word_ready_i (word_ready),
    .word_data_o  (word_data)
  );

  // ---- Sequencer --------------------------------------------------------------------------------
  logic        activation_word_valid, weight_word_valid, weight_word_ready;
  logic        issue_finished, output_busy, drain_idle, writer_idle;
  logic [31:0] activation_capacity, result_words;

  plait_bs_sequencer #(
    .PortBits(PortBits)
  ) u_sequencer (
    .clk_i,
    .rst_ni,
    .start_i,
    .descriptor_address_i,
    .busy_o,
    .done_o,
    .bad_descriptor_o       (bad_descriptor),
    .state_o,
    .job_valid_o            (job_valid),
    .job_ready_i            (job_ready),
    .job_address_o          (job_address),
    .job_words_o            (job_words),
    .word_valid_i           (word_valid),
    .word_ready_o           (word_ready),
    .word_data_i            (word_data),
    .activation_word_valid_o(activation_word_valid),
    .weight_word_valid_o    (weight_word_valid),
    .weight_word_ready_i    (weight_word_ready),
    .activation_capacity_i  (activation_capacity),
    .result_words_i         (result_words),
    .is_loading_o           (is_loading),
    .matmul_o               (matmul),
    .descriptor_start_o     (descriptor_start),
    .token_tile_start_o     (token_tile_start),
    .issue_finished_i       (issue_finished),
    .output_idle_i          (!output_busy && drain_idle && writer_idle)
  );

  // ---- Buffers ----------------------------------------------------------------------------------
  logic step_available, step_read, group_read, result_valid;

  logic [31:0]                                                 step;
  logic [Rows-1:0][Lanes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0] codes;
  logic [Rows-1:0][plait_bs_pkg::SELECTOR_BITS-1:0]            selectors;
  logic [Rows-1:0][ScaleBits-1:0]                              scales;
  logic [Rows-1:0][15:0]                                       channel_steps;
  logic [Columns-1:0][Lanes-1:0][15:0]                         activations;
  logic                                                        non_finite;

  plait_bs_weight_buffer #(
    .Rows             (Rows),
    .Lanes            (Lanes),
    .ScaleBits        (ScaleBits),
    .PortBits         (PortBits),
    .WeightBufferSteps(WeightBufferSteps),
    .ScaleBufferGroups(ScaleBufferGroups)
  ) u_weight_buffer (
    .clk_i,
    .rst_ni,
    .format_i          (matmul.format_index),
    .groups_i          (matmul.groups),
    .steps_per_group_i (matmul.steps_per_group),
    .last_group_steps_i(matmul.last_group_steps),
    .word_valid_i      (weight_word_valid),
    .word_ready_o      (weight_word_ready),
    .word_data_i       (word_data),
    .step_available_o  (step_available),
    .step_read_i       (step_read),
    .group_read_i      (group_read),
    .codes_o           (codes),
    .selectors_o       (selectors),
    .scales_o          (scales),
    .channel_read_i    (result_valid),
    .channel_steps_o   (channel_steps)
  );

  plait_bs_activation_buffer #(
    .Columns              (Columns),
    .Lanes                (Lanes),
    .PortBits             (PortBits),
    .ActivationBufferSteps(ActivationBufferSteps)
  ) u_activation_buffer (
    .clk_i,
    .rst_ni,
    .capacity_o   (activation_capacity),
    .clear_i      (token_tile_start),
    .is_int8_i    (matmul.is_int8),
    .word_valid_i (activation_word_valid),
    .word_data_i  (word_data),
    .non_finite_o (non_finite),
    .read_i       (step_read),
    .step_i       (step),
    .activations_o(activations)
  );

  // ---- Terms into the array ---------------------------------------------------------------------
  logic issue, is_filling, tile_drained;
  logic array_term_valid, array_group_first, array_group_last, array_tile_first, array_tile_last;

  plait_bs_machine_pkg::cause_e             stall_cause;
  logic [plait_bs_pkg::TERM_INDEX_BITS-1:0] array_term_index;

  plait_bs_issue #(
    .ScaleBits(ScaleBits)
  ) u_issue (
    .clk_i,
    .rst_ni,
    .last_term_i        (plait_bs_pkg::last_term(matmul.format_index)),
    .steps_per_group_i  (matmul.steps_per_group),
    .last_group_steps_i (matmul.last_group_steps),
    .groups_i           (matmul.groups),
    .output_tiles_i     (matmul.output_tiles),
    .start_i            (token_tile_start),
    .finished_o         (issue_finished),
    .step_available_i   (step_available),
    .step_read_o        (step_read),
    .group_read_o       (group_read),
    .step_o             (step),
    .tile_drained_i     (tile_drained),
    .output_busy_o      (output_busy),
    .issue_o            (issue),
    .is_filling_o       (is_filling),
    .stall_cause_o      (stall_cause),
    .array_term_valid_o (array_term_valid),
    .array_term_index_o (array_term_index),
    .array_group_first_o(array_group_first),
    .array_group_last_o (array_group_last),
    .array_tile_first_o (array_tile_first),
    .array_tile_last_o  (array_tile_last)
  );

  logic [Columns-1:0][Rows-1:0][MantissaBits-1:0]                mantissas;
  logic [Columns-1:0][Rows-1:0][plait_bs_pkg::EXPONENT_BITS-1:0] exponents;

  plait_bs_array #(
    .Rows                 (Rows),
    .Columns              (Columns),
    .Lanes                (Lanes),
    .GuardBits            (GuardBits),
    .AccumulatorBits      (AccumulatorBits),
    .OutputAccumulatorBits(OutputAccumulatorBits),
    .ScaleBits            (ScaleBits)
  ) u_array (
    .clk_i,
    .rst_ni,
    .term_valid_i      (array_term_valid),
    .format_i          (matmul.format_index),
    .activation_int8_i (matmul.is_int8),
    .term_index_i      (array_term_index),
    .group_first_i     (array_group_first),
    .group_last_i      (array_group_last),
    .tile_first_i      (array_tile_first),
    .tile_last_i       (array_tile_last),
    .weight_codes_i    (codes),
    .selectors_i       (selectors),
    .activations_i     (activations),
    .scales_i          (scales),
    .result_valid_o    (result_valid),
    .result_mantissas_o(mantissas),
    .result_exponents_o(exponents)
  );

  // ---- Results out ------------------------------------------------------------------------------
  logic                result_word_valid, result_word_ready;
  logic [PortBits-1:0] result_word_data;

  plait_bs_output #(
    .Rows        (Rows),
    .Columns     (Columns),
    .GuardBits   (GuardBits),
    .MantissaBits(MantissaBits),
    .PortBits    (PortBits)
  ) u_output (
    .clk_i,
    .rst_ni,
    .tile_words_o   (result_words),
    .is_int8_i      (matmul.is_int8),
    .result_valid_i (result_valid),
    .mantissas_i    (mantissas),
    .exponents_i    (exponents),
    .channel_steps_i(channel_steps),
    .tile_drained_o (tile_drained),
    .idle_o         (drain_idle),
    .word_valid_o   (result_word_valid),
    .word_ready_i   (result_word_ready),
    .word_data_o    (result_word_data)
  );

  plait_bs_writer #(
    .PortBits(PortBits)
  ) u_writer (
    .clk_i,
    .rst_ni,
    .address_load_i(descriptor_start),
    .address_i     (matmul.result_address),
    .idle_o        (writer_idle),
    .word_valid_i  (result_word_valid),
    .word_ready_o  (result_word_ready),
    .word_data_i   (result_word_data),
    .mem_write_valid_o,
    .mem_write_ready_i,
    .mem_write_address_o,
    .mem_write_data_o
  );

  // ---- What happened ----------------------------------------------------------------------------
  logic non_finite_q;  // sticky

  always_ff @(posedge clk_i) begin
    if (!rst_ni) non_finite_q <= 1'b0;
    else non_finite_q <= !start_i && (non_finite_q || non_finite);
  end

  assign error_o[plait_bs_machine_pkg::ERROR_NON_FINITE] = non_finite_q;
  assign error_o[plait_bs_machine_pkg::ERROR_DESCRIPTOR] = bad_descriptor;

  plait_bs_counters u_counters (
    .clk_i,
    .rst_ni,
    .start_i,
    .state_i       (state_o),
    .is_loading_i  (is_loading),
    .issue_i       (issue),
    .is_filling_i  (is_filling),
    .stall_cause_i (stall_cause),
    .result_valid_i(result_valid),
    .cycles_o,
    .counters_o
  );

endmodule
