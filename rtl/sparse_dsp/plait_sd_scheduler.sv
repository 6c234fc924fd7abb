// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_scheduler: six in-order queues of instructions that wait for each other's tokens.
// Latency:      1 cycle from an instruction at the input to its issue, if nothing holds it.
// Throughput:   1 instruction a cycle in; each queue issues at most one a cycle.
// Combinational paths: in_queue_i to in_ready_o; unit_ready_i to unit_start_o.
//
// An instruction is issued when it heads its queue, its unit is ready and a token of every queue it
// waits for is there; it takes one of each. When the unit says done, which it does in the order of
// issue, the instruction gives a token to every queue it releases: that one may start in the next
// cycle. SYS has no unit: it is done in the cycle in which it is issued. MM and MV share the DSP
// chains: of the two only one is issued a cycle, MM first.

`include "plait_assert.svh"

module plait_sd_scheduler #(
  parameter int unsigned QueueDepth = 8,
  parameter int unsigned InFlight = 8,  // instructions of a unit issued and not done
  localparam int unsigned Queues = plait_sd_machine_pkg::NUM_QUEUES,
  localparam int unsigned MaxWords = plait_sd_machine_pkg::MAX_WORDS
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                       in_valid_i,
  output logic                       in_ready_o,
  input  logic [2:0]                 in_queue_i,
  input  logic [MaxWords-1:0][31:0]  in_words_i,

  input  logic [Queues-2:0]                     unit_ready_i,
  output logic [Queues-2:0]                     unit_start_o,
  output logic [Queues-2:0][MaxWords-1:0][31:0] unit_words_o,
  input  logic [Queues-2:0]                     unit_done_i,  // pulses

  output logic idle_o  // every queue empty, every unit done
);

  localparam int unsigned TokenBits = 8;
  localparam int unsigned Sys = plait_sd_machine_pkg::QUEUE_SYS;
  localparam int unsigned Mm = plait_sd_machine_pkg::QUEUE_MM;
  localparam int unsigned Mv = plait_sd_machine_pkg::QUEUE_MV;

  // Words of an instruction of each queue, four bits a queue.
  localparam logic [4*Queues-1:0] Words = {4'd1, 4'd3, 4'd4, 4'd4, 4'd3, 4'd7};

  logic [Queues-1:0]                            push_ready, head_valid, issue, can_issue, done;
  logic [Queues-1:0][MaxWords-1:0][31:0]        head_words;
  logic [Queues-1:0][Queues-1:0]                waits, releases, given;  // [queue][other]
  logic [Queues-1:0]                            flight_ready, flight_valid;
  logic [Queues-1:0][Queues-1:0]                flight_releases;
  logic [Queues-1:0][Queues-1:0][TokenBits-1:0] tokens_d, tokens_q;      // [giver][taker]

  assign in_ready_o = push_ready[in_queue_i];

  for (genvar q = 0; q < Queues; q++) begin : gen_queue
    localparam int unsigned Count = 32'(Words[4*q +: 4]);
    localparam int unsigned Width = 32 * Count;

    logic [Width-1:0]                  head;
    logic [$clog2(QueueDepth+1)-1:0] unused_count;

    plait_fifo #(
      .Width(Width),
      .Depth(QueueDepth)
    ) u_queue (
      .clk_i,
      .rst_ni,
      .in_valid_i (in_valid_i && in_queue_i == 3'(q)),
      .in_ready_o (push_ready[q]),
      .in_data_i  (in_words_i[Count-1:0]),
      .out_valid_o(head_valid[q]),
      .out_ready_i(issue[q]),
      .out_data_o (head),
      .count_o    (unused_count)
    );

    assign head_words[q] = 224'(head);

    // Masks name the five other queues, the first in the highest bit.
    for (genvar o = 0; o < Queues; o++) begin : gen_mask
      if (o == q) begin : gen_own
        assign waits[q][o]    = 1'b0;
        assign releases[q][o] = 1'b0;
      end else begin : gen_other
        localparam int unsigned Place = 4 - (o < q ? o : o - 1);
        assign waits[q][o]    = head[23+Place];
        assign releases[q][o] = head[18+Place];
      end
    end

    // What the instructions in the unit will release.
    if (q == Sys) begin : gen_sys
      assign flight_ready[q]    = 1'b1;
      assign flight_valid[q]    = 1'b0;
      assign flight_releases[q] = releases[q];
      assign done[q]            = issue[q];
    end else begin : gen_unit
      logic [$clog2(InFlight+1)-1:0] unused_flights;

      plait_fifo #(
        .Width(Queues),
        .Depth(InFlight)
      ) u_flight (
        .clk_i,
        .rst_ni,
        .in_valid_i (issue[q]),
        .in_ready_o (flight_ready[q]),
        .in_data_i  (releases[q]),
        .out_valid_o(flight_valid[q]),
        .out_ready_i(done[q]),
        .out_data_o (flight_releases[q]),
        .count_o    (unused_flights)
      );

      assign done[q]         = unit_done_i[q];
      assign unit_start_o[q] = issue[q];
      assign unit_words_o[q] = head_words[q];

      `PLAIT_ASSERT(a_done_was_issued, done[q] |-> flight_valid[q])
    end
  end

  // ---- Issue ------------------------------------------------------------------------------------
  always_comb begin
    for (int unsigned q = 0; q < Queues; q++) begin
      can_issue[q] = head_valid[q] && flight_ready[q];
      if (q != Sys) can_issue[q] = can_issue[q] && unit_ready_i[q];
      for (int unsigned o = 0; o < Queues; o++) begin
        if (waits[q][o] && tokens_q[o][q] == '0) can_issue[q] = 1'b0;
      end
    end
    issue = can_issue;
    if (can_issue[Mm]) issue[Mv] = 1'b0;
  end

  // ---- Tokens -----------------------------------------------------------------------------------
  always_comb begin
    for (int unsigned q = 0; q < Queues; q++) begin
      given[q] = done[q] ? flight_releases[q] : '0;
      for (int unsigned o = 0; o < Queues; o++) begin
        tokens_d[q][o] = tokens_q[q][o] + TokenBits'(given[q][o])
                       - TokenBits'(issue[o] && waits[o][q]);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) tokens_q <= '0;
    else tokens_q <= tokens_d;
  end

  assign idle_o = head_valid == '0 && flight_valid == '0;

  logic unused_bits;
  assign unused_bits = ^head_words[Sys];

  for (genvar q = 0; q < Queues; q++) begin : gen_check
    for (genvar o = 0; o < Queues; o++) begin : gen_pair
      `PLAIT_ASSERT(a_tokens_fit, given[q][o] && !(issue[o] && waits[o][q])
                    |-> tokens_q[q][o] != '1)
    end
  end
  `PLAIT_ASSERT(a_queue_exists, in_valid_i |-> in_queue_i < 3'(Queues))

endmodule
