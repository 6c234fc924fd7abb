// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_fetch: loads a program segment by segment, and hands its instructions to the queues.
// Latency:      last word of a segment to its first instruction word 2 cycles.
// Throughput:   a word of 32 bits a cycle, so an instruction in as many cycles as it has words.
// Combinational paths: word_valid_i, and instruction_ready_i, to the reads of the buffer.
//
// A segment is a header and `words` port words of packed instructions. The next one is loaded when
// every queue has run empty, so a program never competes with the data it moves.
// Header: [31:0] magic, [63:32] port words, [95:64] instruction words of 32 bits, [96] last segment.

`include "plait_assert.svh"

module plait_sd_fetch #(
  parameter int unsigned PortBits = 256,
  parameter int unsigned BufferWords = 1024  // port words of the longest segment
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                         start_i,
  input  logic [31:0]                  address_i,
  output logic                         done_o,  // a pulse
  output logic                         is_bad_o,  // a pulse: a header or an opcode is wrong
  output plait_sd_machine_pkg::state_e state_o,

  output logic        job_valid_o,
  input  logic        job_ready_i,
  output logic [31:0] job_address_o,
  output logic [31:0] job_words_o,
  input  logic                word_valid_i,  // a word of a job of this module; always taken
  input  logic [PortBits-1:0] word_data_i,

  output logic                                               instruction_valid_o,
  input  logic                                               instruction_ready_i,
  output logic [2:0]                                         instruction_queue_o,
  output logic [plait_sd_machine_pkg::MAX_WORDS-1:0][31:0]   instruction_words_o,
  input  logic                                               queues_idle_i
);

  if (PortBits < 128 || PortBits % 32 != 0 || (PortBits & (PortBits - 1)) != 0) begin : gen_check
    $fatal(1, "plait_sd_fetch: PortBits must be a power of two, at least 128");
  end

  localparam int unsigned Pieces = PortBits / 32;
  localparam int unsigned PieceBits = $clog2(Pieces);
  localparam int unsigned AddressBits = BufferWords > 1 ? $clog2(BufferWords) : 1;

  plait_sd_machine_pkg::state_e state_d, state_q;
  logic [31:0] address_d, address_q;
  logic [31:0] words_q, filled_d, filled_q, total_q;
  logic        is_last_q, is_header_good, header_taken;

  // ---- Segments ---------------------------------------------------------------------------------
  logic dispatch_ends;

  assign header_taken   = state_q == plait_sd_machine_pkg::ControlReceive && word_valid_i;
  assign is_header_good = word_data_i[31:0] == plait_sd_machine_pkg::SEGMENT_MAGIC
                       && word_data_i[63:32] != '0 && word_data_i[63:32] <= 32'(BufferWords)
                       && word_data_i[95:64] != '0
                       && word_data_i[95:64] <= word_data_i[63:32] << PieceBits;

  always_comb begin
    state_d   = state_q;
    address_d = address_q;
    filled_d  = filled_q;
    done_o    = 1'b0;
    unique case (state_q)
      plait_sd_machine_pkg::ControlIdle: if (start_i) begin
        state_d   = plait_sd_machine_pkg::ControlHeader;
        address_d = address_i;
      end
      plait_sd_machine_pkg::ControlHeader: if (job_ready_i) begin
        state_d   = plait_sd_machine_pkg::ControlReceive;
        address_d = address_q + 32'd1;
      end
      plait_sd_machine_pkg::ControlReceive: if (word_valid_i) begin
        state_d  = plait_sd_machine_pkg::ControlLoad;
        filled_d = '0;
        if (!is_header_good) begin
          state_d = plait_sd_machine_pkg::ControlIdle;
          done_o  = 1'b1;
        end
      end
      plait_sd_machine_pkg::ControlLoad: if (job_ready_i) begin
        state_d   = plait_sd_machine_pkg::ControlFill;
        address_d = address_q + words_q;
      end
      plait_sd_machine_pkg::ControlFill: if (word_valid_i) begin
        filled_d = filled_q + 32'd1;
        if (filled_d == words_q) state_d = plait_sd_machine_pkg::ControlRun;
      end
      plait_sd_machine_pkg::ControlRun: if (dispatch_ends && queues_idle_i) begin
        state_d = plait_sd_machine_pkg::ControlHeader;
        if (is_last_q) begin
          state_d = plait_sd_machine_pkg::ControlIdle;
          done_o  = 1'b1;
        end
      end
      default: state_d = plait_sd_machine_pkg::ControlIdle;
    endcase
  end

  assign job_valid_o   = state_q == plait_sd_machine_pkg::ControlHeader
                      || state_q == plait_sd_machine_pkg::ControlLoad;
  assign job_address_o = address_q;
  assign job_words_o   = state_q == plait_sd_machine_pkg::ControlLoad ? words_q : 32'd1;
  assign state_o       = state_q;

  // ---- Instructions, a word a cycle -------------------------------------------------------------
  logic                   is_running, word_valid_d, word_valid_q, takes, completes, read_enable;
  logic [31:0]            index_d, index_q;  // of the word that the buffer gives
  logic [31:0]            next_index;
  logic [PortBits-1:0]    buffer_data;
  logic [31:0]            piece;
  logic [2:0]             count_d, count_q, length;
  logic [plait_sd_machine_pkg::MAX_WORDS-2:0][31:0] held_q;
  logic [3:0]             opcode;
  logic                   is_unknown;

  plait_ram_1r1w #(
    .Width(PortBits),
    .Depth(BufferWords)
  ) u_buffer (
    .clk_i,
    .write_enable_i (state_q == plait_sd_machine_pkg::ControlFill && word_valid_i),
    .write_address_i(filled_q[AddressBits-1:0]),
    .write_data_i   (word_data_i),
    .read_enable_i  (read_enable),
    .read_address_i (next_index[PieceBits +: AddressBits]),
    .read_data_o    (buffer_data)
  );

  assign is_running = state_q == plait_sd_machine_pkg::ControlRun;
  assign piece      = buffer_data[index_q[PieceBits-1:0]*32 +: 32];
  assign opcode     = count_q == '0 ? piece[31:28] : held_q[0][31:28];

  always_comb begin
    is_unknown          = 1'b0;
    length              = 3'd1;
    instruction_queue_o = '0;
    unique case (opcode)
      4'd1:  begin length = 3'd7; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_LD); end
      4'd2:  begin length = 3'd3; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_ST); end
      4'd3:  begin length = 3'd4; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_MM); end
      4'd4:  begin length = 3'd4; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_MV); end
      4'd5:  begin length = 3'd3; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_MISC); end
      4'd15: begin length = 3'd1; instruction_queue_o = 3'(plait_sd_machine_pkg::QUEUE_SYS); end
      default: is_unknown = 1'b1;
    endcase
  end

  assign completes           = word_valid_q && count_q + 3'd1 == length;
  assign instruction_valid_o = completes && !is_unknown;
  assign takes               = word_valid_q && (!instruction_valid_o || instruction_ready_i);
  assign next_index          = word_valid_q ? index_q + 32'd1 : index_q;
  assign read_enable         = is_running && (takes || !word_valid_q) && next_index < total_q;
  assign dispatch_ends       = is_running && !word_valid_q && index_q == total_q;
  assign is_bad_o            = (header_taken && !is_header_good) || (completes && is_unknown);

  always_comb begin
    word_valid_d = word_valid_q;
    index_d      = index_q;
    count_d      = count_q;
    if (!is_running) begin
      word_valid_d = 1'b0;
      index_d      = '0;
      count_d      = '0;
    end else begin
      if (takes) begin
        count_d = completes ? '0 : count_q + 3'd1;
        index_d = next_index;
      end
      if (takes || !word_valid_q) word_valid_d = read_enable;
    end
  end

  always_comb begin
    instruction_words_o = {32'd0, held_q};
    instruction_words_o[count_q] = piece;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q      <= plait_sd_machine_pkg::ControlIdle;
      word_valid_q <= 1'b0;
    end else begin
      state_q      <= state_d;
      word_valid_q <= word_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    address_q <= address_d;
    filled_q  <= filled_d;
    index_q   <= index_d;
    count_q   <= count_d;
    if (takes && !completes) held_q[count_q] <= piece;
    if (header_taken) begin
      words_q   <= word_data_i[63:32];
      total_q   <= word_data_i[95:64];
      is_last_q <= word_data_i[96];
    end
  end

  `PLAIT_ASSERT(a_start_while_idle, start_i |-> state_q == plait_sd_machine_pkg::ControlIdle)
  `PLAIT_ASSERT_STREAM(a_instruction_stable, instruction_valid_o, instruction_ready_i,
                       {instruction_queue_o, instruction_words_o})

endmodule
