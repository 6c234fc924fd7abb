// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_transpose: turns bit planes (bit b of all codes) into codes; wires alone in hardware.
// Latency:      0 cycles, combinational from planes_i to codes_o.
// Throughput:   1 step a cycle.
// Eight codes at a time are an 8 x 8 matrix of bits, transposed by three exchanges across its
// diagonal (Hacker's Delight, 7-3): a simulator does this on whole words, many times faster than
// bit by bit.

module plait_bs_transpose #(
  parameter int unsigned Codes = 32,
  parameter int unsigned CodeBits = 8  // at most 8
) (
  input  logic [CodeBits-1:0][Codes-1:0] planes_i,
  output logic [Codes-1:0][CodeBits-1:0] codes_o
);

  if (CodeBits == 0 || CodeBits > 8) begin : gen_check_bits
    $fatal(1, "plait_bs_transpose: CodeBits must be 1 to 8");
  end

  localparam int unsigned Blocks = (Codes + 7) / 8;

  for (genvar block = 0; block < Blocks; block++) begin : gen_block
    localparam int unsigned First = block * 8;
    localparam int unsigned Used = Codes - First < 8 ? Codes - First : 8;
    logic [63:0] matrix, pairs, quads, transposed;  // eight rows of eight bits
    logic        unused_bits;                       // of codes there are not

    for (genvar plane = 0; plane < 8; plane++) begin : gen_plane
      if (plane < CodeBits) begin : gen_used
        assign matrix[8*plane +: 8] = 8'(planes_i[plane][First +: Used]);
      end else begin : gen_unused
        assign matrix[8*plane +: 8] = '0;
      end
    end

    // Exchange single bits, then 2 x 2 blocks, then 4 x 4 blocks.
    assign pairs = (matrix & 64'haa55aa55aa55aa55)
                 | ((matrix & 64'h00aa00aa00aa00aa) << 7)
                 | ((matrix >> 7) & 64'h00aa00aa00aa00aa);
    assign quads = (pairs & 64'hcccc3333cccc3333)
                 | ((pairs & 64'h0000cccc0000cccc) << 14)
                 | ((pairs >> 14) & 64'h0000cccc0000cccc);
    assign transposed = (quads & 64'hf0f0f0f00f0f0f0f)
                      | ((quads & 64'h00000000f0f0f0f0) << 28)
                      | ((quads >> 28) & 64'h00000000f0f0f0f0);

    assign unused_bits = ^transposed;

    for (genvar code = 0; code < Used; code++) begin : gen_code
      assign codes_o[First+code] = transposed[8*code +: CodeBits];
    end
  end

endmodule
