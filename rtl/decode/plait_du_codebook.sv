// SPDX-License-Identifier: Apache-2.0
//
// plait_du_codebook: codebook decoder: indices to vectors of a codebook in banked memory. Entry i
// lies in bank i modulo Banks; a bank gives one vector a cycle, so the lookups of a beat that fall
// into the same bank follow one another, the lowest lane first.
// Latency:      3 cycles, and 1 more for each that the beat waits for a bank.
// Throughput:   a beat takes as many cycles as it has lookups in its busiest bank, 1 at least;
//               the next beat follows without a gap. 1 vector written a cycle.
// Combinational paths from input to output: out_ready_i to in_ready_o.

`include "plait_assert.svh"

module plait_du_codebook #(
  parameter int unsigned Entries = 256,
  parameter int unsigned VectorLength = 4,
  parameter int unsigned ValueBits = 16,
  parameter int unsigned Banks = 4,
  parameter int unsigned LookupsPerCycle = 4,
  localparam int unsigned IndexBits = $clog2(Entries),
  localparam int unsigned VectorBits = VectorLength * ValueBits
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                  write_enable_i,
  input  logic [IndexBits-1:0]  write_address_i,
  input  logic [VectorBits-1:0] write_data_i,

  input  logic                                      in_valid_i,
  output logic                                      in_ready_o,
  input  logic [LookupsPerCycle-1:0][IndexBits-1:0] in_data_i,
  input  logic [LookupsPerCycle-1:0]                in_keep_i,  // lanes with an index

  output logic                                       out_valid_o,
  input  logic                                       out_ready_i,
  output logic [LookupsPerCycle-1:0][VectorBits-1:0] out_data_o  // 0 in lanes without an index
);

  localparam int unsigned BankBits = Banks > 1 ? $clog2(Banks) : 1;
  localparam int unsigned Depth = (Entries + Banks - 1) / Banks;
  localparam int unsigned AddressBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam int unsigned BankShift = $clog2(Banks);

  if (Entries < 2 || VectorBits == 0 || LookupsPerCycle == 0) begin : gen_check
    $fatal(1, "plait_du_codebook: at least 2 Entries, 1 of the others");
  end
  if (Banks == 0 || (Banks & (Banks - 1)) != 0) begin : gen_check_banks
    $fatal(1, "plait_du_codebook: Banks must be a power of two");
  end

  // ---- A beat waits for its lookups, one a bank and cycle --------------------------------------

  logic                                      beat_valid_q;
  logic [LookupsPerCycle-1:0][IndexBits-1:0] index_q;
  logic [LookupsPerCycle-1:0]                keep_q, pending_q, served;
  logic [LookupsPerCycle-1:0][BankBits-1:0]  bank;
  logic                                      is_last;  // all lookups of the beat are on their way
  logic                                      advance;  // nothing moves while a beat waits to leave
  logic                                      take;

  assign is_last    = (pending_q & ~served) == '0;
  assign in_ready_o = advance && (!beat_valid_q || is_last);
  assign take       = in_valid_i && in_ready_o;

  always_comb begin
    for (int unsigned lane = 0; lane < LookupsPerCycle; lane++) begin
      bank[lane]   = BankBits'(index_q[lane]) & BankBits'(Banks - 1);
      served[lane] = pending_q[lane];
      for (int unsigned lower = 0; lower < lane; lower++) begin
        if (pending_q[lower] && bank[lower] == bank[lane]) served[lane] = 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      beat_valid_q <= 1'b0;
      pending_q    <= '0;
    end else if (advance) begin
      if (!beat_valid_q || is_last) begin
        beat_valid_q <= in_valid_i;
        pending_q    <= in_valid_i ? in_keep_i : '0;
      end else begin
        pending_q <= pending_q & ~served;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (take) begin
      index_q <= in_data_i;
      keep_q  <= in_keep_i;
    end
  end

  // ---- The banks -------------------------------------------------------------------------------

  logic [Banks-1:0][VectorBits-1:0] words;

  for (genvar number = 0; number < Banks; number++) begin : gen_bank
    logic                   read;
    logic [AddressBits-1:0] address;

    always_comb begin
      read    = 1'b0;
      address = '0;
      for (int unsigned lane = 0; lane < LookupsPerCycle; lane++) begin
        if (served[lane] && bank[lane] == BankBits'(number)) begin
          read    = 1'b1;
          address = address | AddressBits'(index_q[lane] >> BankShift);
        end
      end
    end

    plait_ram_1r1w #(
      .Width(VectorBits),
      .Depth(Depth)
    ) u_ram (
      .clk_i,
      .write_enable_i (write_enable_i
                       && (BankBits'(write_address_i) & BankBits'(Banks - 1)) == BankBits'(number)),
      .write_address_i(AddressBits'(write_address_i >> BankShift)),
      .write_data_i,
      .read_enable_i  (read && advance),
      .read_address_i (address),
      .read_data_o    (words[number])
    );
  end

  // ---- Vectors are collected until the beat is whole -------------------------------------------

  logic                                       done_q, out_valid_q;
  logic [LookupsPerCycle-1:0]                 served_q, blank_q;
  logic [LookupsPerCycle-1:0][BankBits-1:0]   bank_q;
  logic [LookupsPerCycle-1:0][VectorBits-1:0] vectors_q;

  assign advance = !out_valid_q || out_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      done_q      <= 1'b0;
      out_valid_q <= 1'b0;
    end else if (advance) begin
      done_q      <= beat_valid_q && is_last;
      out_valid_q <= done_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      served_q <= served;
      blank_q  <= ~keep_q;
      bank_q   <= bank;
      for (int unsigned lane = 0; lane < LookupsPerCycle; lane++) begin
        if (served_q[lane]) vectors_q[lane] <= words[bank_q[lane]];
        else if (blank_q[lane]) vectors_q[lane] <= '0;
      end
    end
  end

  assign out_valid_o = out_valid_q;
  assign out_data_o  = vectors_q;

`ifndef SYNTHESIS
  logic [LookupsPerCycle-1:0] beyond;
  always_comb begin
    for (int unsigned lane = 0; lane < LookupsPerCycle; lane++) begin
      beyond[lane] = in_keep_i[lane] && 32'(in_data_i[lane]) >= Entries;
    end
  end
  `PLAIT_ASSERT(a_index, !in_valid_i || beyond == '0)
`endif
  `PLAIT_ASSERT_STREAM(a_out_stable, out_valid_o, out_ready_i, out_data_o)

endmodule
