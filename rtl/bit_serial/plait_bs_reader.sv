// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_reader: reads jobs of consecutive words through the memory port, in bursts.
// Latency:      2 cycles from an accepted job to its first request, 1 from a word at the port to
//               the word stream.
// Throughput:   1 word a cycle without a gap, also from job to job, as long as the memory answers
//               within WordsInFlight - 2 * BurstWords cycles.
// Combinational paths from input to output: none.
// Words come in the order of the requests, and are requested ahead of their use: at most
// WordsInFlight words are on their way.

`include "plait_assert.svh"

module plait_bs_reader #(
  parameter int unsigned PortBits = 256,
  parameter int unsigned BurstWords = 64,
  parameter int unsigned WordsInFlight = 256
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic        job_valid_i,
  output logic        job_ready_o,
  input  logic [31:0] job_address_i,
  input  logic [31:0] job_words_i,    // at least 1

  output logic        mem_read_request_valid_o,
  input  logic        mem_read_request_ready_i,
  output logic [31:0] mem_read_request_address_o,
  output logic [15:0] mem_read_request_length_o,

  input  logic                mem_read_valid_i,
  output logic                mem_read_ready_o,
  input  logic [PortBits-1:0] mem_read_data_i,

  output logic                word_valid_o,
  input  logic                word_ready_i,
  output logic [PortBits-1:0] word_data_o
);

  if (BurstWords == 0 || BurstWords >= 2 ** 16) begin : gen_check_burst
    $fatal(1, "plait_bs_reader: BurstWords must be 1 to 65535");
  end
  if (WordsInFlight < BurstWords) begin : gen_check_flight
    $fatal(1, "plait_bs_reader: WordsInFlight must be at least BurstWords");
  end

  localparam int unsigned FlightWidth = $clog2(WordsInFlight + 1);
  localparam logic [FlightWidth-1:0] FlightLimit = FlightWidth'(WordsInFlight - BurstWords);

  logic                   active_d, active_q;
  logic [31:0]            address_d, address_q;
  logic [31:0]            left_d, left_q;
  logic [FlightWidth-1:0] flight_d, flight_q;  // words requested and not received
  logic                   request_valid, request_ready, request_taken;
  logic [15:0]            length;
  logic                   is_last_burst, job_taken, word_taken;

  assign is_last_burst = left_q <= 32'(BurstWords);
  assign length        = is_last_burst ? left_q[15:0] : 16'(BurstWords);
  assign request_valid = active_q && flight_q <= FlightLimit;
  assign request_taken = request_valid && request_ready;
  assign job_ready_o   = !active_q || (request_taken && is_last_burst);
  assign job_taken     = job_valid_i && job_ready_o;
  assign word_taken    = mem_read_valid_i && mem_read_ready_o;

  always_comb begin
    active_d  = active_q;
    address_d = address_q;
    left_d    = left_q;
    flight_d  = flight_q;
    if (request_taken) begin
      active_d  = !is_last_burst;
      address_d = address_q + 32'(length);
      left_d    = left_q - 32'(length);
      flight_d  = flight_d + FlightWidth'(length);
    end
    if (job_taken) begin
      active_d  = 1'b1;
      address_d = job_address_i;
      left_d    = job_words_i;
    end
    if (word_taken) flight_d = flight_d - 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
      flight_q <= '0;
    end else begin
      active_q <= active_d;
      flight_q <= flight_d;
    end
  end

  always_ff @(posedge clk_i) begin
    address_q <= address_d;
    left_q    <= left_d;
  end

  plait_skid #(
    .Width(32 + 16)
  ) u_request (
    .clk_i,
    .rst_ni,
    .in_valid_i (request_valid),
    .in_ready_o (request_ready),
    .in_data_i  ({address_q, length}),
    .out_valid_o(mem_read_request_valid_o),
    .out_ready_i(mem_read_request_ready_i),
    .out_data_o ({mem_read_request_address_o, mem_read_request_length_o})
  );

  plait_skid #(
    .Width(PortBits)
  ) u_words (
    .clk_i,
    .rst_ni,
    .in_valid_i (mem_read_valid_i),
    .in_ready_o (mem_read_ready_o),
    .in_data_i  (mem_read_data_i),
    .out_valid_o(word_valid_o),
    .out_ready_i(word_ready_i),
    .out_data_o (word_data_o)
  );

  `PLAIT_ASSERT(a_job_not_empty, job_valid_i |-> job_words_i != '0)
  `PLAIT_ASSERT_STREAM(a_request_stable, request_valid, request_ready, {address_q, length})
  `PLAIT_ASSERT(a_word_was_requested, mem_read_valid_i |-> flight_q != '0)
  `PLAIT_ASSERT(a_flight_bounded, flight_q <= FlightWidth'(WordsInFlight))

endmodule
