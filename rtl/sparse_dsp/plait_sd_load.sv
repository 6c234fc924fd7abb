// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_load: runs LD instructions: rows of words from the memory port, or zeros, to a buffer.
// Latency:      start_i to the first row's job 1 cycle; a word of the reader to the write 0.
// Throughput:   a word a cycle; a row's job a cycle; the next instruction's rows are asked for while
//               words of the last are on their way.
// Combinational paths: word_valid_i and word_data_i to the write and done_o.
// Rows follow each other with loop 1 fastest, a loop of 0 counts as 1; entries are filled in order.
// Addresses, strides and the length are whole words of the port: their low bits are not looked at.

`include "plait_assert.svh"

module plait_sd_load #(
  parameter int unsigned PortBits = 256,
  parameter int unsigned RowsInFlight = 32
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                        start_i,
  output logic                        ready_o,
  input  plait_sd_machine_pkg::load_t load_i,
  output logic                        done_o,  // a pulse an instruction, in order
  output logic                        idle_o,

  output logic        job_valid_o,
  input  logic        job_ready_i,
  output logic [31:0] job_address_o,
  output logic [31:0] job_words_o,
  input  logic                word_valid_i,
  output logic                word_ready_o,
  input  logic [PortBits-1:0] word_data_i,

  output logic                write_enable_o,
  output logic [2:0]          write_mode_o,
  output logic [2:0]          write_channel_o,
  output logic [11:0]         write_address_o,
  output logic [PortBits-1:0] write_data_o
);

  if (PortBits < 16 || (PortBits & (PortBits - 1)) != 0) begin : gen_check_port
    $fatal(1, "plait_sd_load: PortBits must be a power of two, at least 16");
  end

  localparam int unsigned ByteBits = $clog2(PortBits / 8);  // low bits of a byte address
  localparam int unsigned WordBits = 23 - ByteBits;

  typedef struct packed {
    logic [WordBits-1:0] words;
    logic                is_zero;
    logic                is_first;  // row of its instruction
    logic                is_last;
    logic [2:0]          mode;
    logic [2:0]          channel;
    logic [11:0]         bank_address;
  } row_t;

  // ---- Rows of the instruction ------------------------------------------------------------------
  plait_sd_machine_pkg::load_t load_q;
  logic        active_d, active_q, first_d, first_q;
  logic [7:0]  i_d, i_q, j_d, j_q, k_d, k_q;
  logic [33:0] row_d, row_q, plane_d, plane_q, cube_d, cube_q;  // addresses where loops begin
  logic        is_last_i, is_last_j, is_last_k, is_last_row, row_taken, tag_ready;
  row_t        tag, head;

  assign is_last_i   = 9'(i_q) + 9'd1 >= 9'(load_q.loops_1d);
  assign is_last_j   = 9'(j_q) + 9'd1 >= 9'(load_q.loops_2d);
  assign is_last_k   = 9'(k_q) + 9'd1 >= 9'(load_q.loops_3d);
  assign is_last_row = is_last_i && is_last_j && is_last_k;
  assign job_valid_o = active_q && tag_ready && !load_q.zero_fill;
  assign row_taken   = active_q && tag_ready && (job_ready_i || load_q.zero_fill);
  assign ready_o     = !active_q || (row_taken && is_last_row);

  always_comb begin
    active_d = active_q;
    first_d  = first_q;
    i_d      = i_q;
    j_d      = j_q;
    k_d      = k_q;
    row_d    = row_q;
    plane_d  = plane_q;
    cube_d   = cube_q;
    if (row_taken) begin
      first_d = 1'b0;
      if (!is_last_i) begin
        i_d   = i_q + 8'd1;
        row_d = row_q + load_q.stride_1d;
      end else if (!is_last_j) begin
        i_d     = '0;
        j_d     = j_q + 8'd1;
        plane_d = plane_q + load_q.stride_2d;
        row_d   = plane_d;
      end else if (!is_last_k) begin
        i_d     = '0;
        j_d     = '0;
        k_d     = k_q + 8'd1;
        cube_d  = cube_q + load_q.stride_3d;
        plane_d = cube_d;
        row_d   = cube_d;
      end else begin
        active_d = 1'b0;
      end
    end
    if (start_i) begin
      active_d = 1'b1;
      first_d  = 1'b1;
      i_d      = '0;
      j_d      = '0;
      k_d      = '0;
      row_d    = load_i.address;
      plane_d  = load_i.address;
      cube_d   = load_i.address;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) active_q <= 1'b0;
    else active_q <= active_d;
  end

  always_ff @(posedge clk_i) begin
    first_q <= first_d;
    i_q     <= i_d;
    j_q     <= j_d;
    k_q     <= k_d;
    row_q   <= row_d;
    plane_q <= plane_d;
    cube_q  <= cube_d;
    if (start_i) load_q <= load_i;
  end

  assign job_address_o    = 32'(row_q >> ByteBits);
  assign job_words_o      = 32'(load_q.length >> ByteBits);
  assign tag.words        = load_q.length[22:ByteBits];
  assign tag.is_zero      = load_q.zero_fill;
  assign tag.is_first     = first_q;
  assign tag.is_last      = is_last_row;
  assign tag.mode         = load_q.mode;
  assign tag.channel      = load_q.channel;
  assign tag.bank_address = load_q.bank_address;

  // ---- Words of the rows ------------------------------------------------------------------------
  logic [$clog2(RowsInFlight+1)-1:0] unused_count;
  logic                head_valid, is_last_word;
  logic [WordBits-1:0] word_d, word_q;
  logic [11:0]         entry_q;

  plait_fifo #(
    .Width($bits(tag)),
    .Depth(RowsInFlight)
  ) u_rows (
    .clk_i,
    .rst_ni,
    .in_valid_i (row_taken),
    .in_ready_o (tag_ready),
    .in_data_i  (tag),
    .out_valid_o(head_valid),
    .out_ready_i(write_enable_o && is_last_word),
    .out_data_o (head),
    .count_o    (unused_count)
  );

  assign word_ready_o   = head_valid && !head.is_zero;
  assign write_enable_o = head_valid && (head.is_zero || word_valid_i);
  assign is_last_word   = word_q + WordBits'(1) == head.words;
  assign word_d         = is_last_word ? '0 : word_q + WordBits'(1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) word_q <= '0;
    else if (write_enable_o) word_q <= word_d;
  end

  always_ff @(posedge clk_i) begin
    if (write_enable_o) entry_q <= write_address_o + 12'd1;
  end

  assign write_mode_o    = head.mode;
  assign write_channel_o = head.channel;
  assign write_address_o = head.is_first && word_q == '0 ? head.bank_address : entry_q;
  assign write_data_o    = head.is_zero ? '0 : word_data_i;
  assign done_o          = write_enable_o && is_last_word && head.is_last;
  assign idle_o          = !active_q && !head_valid;

  logic unused_bits;
  assign unused_bits = ^{load_q.unused_high, load_q.memory, load_q.head, load_q.address,
                         load_q.length[ByteBits-1:0], row_q[ByteBits-1:0]};

  `PLAIT_ASSERT(a_start_while_ready, start_i |-> ready_o)
  `PLAIT_ASSERT(a_row_is_not_empty, active_q |-> tag.words != '0)

endmodule
