// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_weights: a group of 32 weights out of a buffer word, as INT8, with their places in K.
// Latency:      0 cycles, combinational from every input to every output.
// Throughput:   1 group a cycle.
//
// A block of 16 inputs x 16 outputs keeps n of 16 weights an output: 16 n codes, output by output,
// places ascending. A group is 32 codes one behind the other, lowest bits first; a word holds 1, 2,
// 2 or 4 groups of 8, 4, 3 or 2 bits. The places are those of the ones in an output's mask.

module plait_sd_weights #(
  localparam int unsigned Word = 256,
  localparam int unsigned Group = 32,
  localparam int unsigned Block = 16
) (
  input  logic [Word-1:0]             word_i,
  input  logic [1:0]                  slice_i,   // which group of the word
  input  logic [1:0]                  format_i,  // 8, 4, 3, 2 bits
  input  logic [4:0]                  kept_i,    // n: 2, 4, 8 or 16
  input  logic [2:0]                  pass_i,    // which group of the block
  input  logic [Block-1:0][Block-1:0] masks_i,   // of the block's outputs; not read if n is 16
  output logic [Group-1:0][7:0]       weights_o,
  output logic [Group-1:0][3:0]       places_o
);

  logic [127:0] half;
  logic [63:0]  quarter;
  logic [95:0]  three;

  assign half    = word_i[128*slice_i[0] +: 128];
  assign quarter = word_i[64*slice_i +: 64];
  assign three   = word_i[96*slice_i[0] +: 96];

  always_comb begin
    for (int unsigned i = 0; i < Group; i++) begin
      unique case (format_i)
        2'd1: weights_o[i] = 8'(signed'(half[4*i +: 4]));
        2'd2: weights_o[i] = 8'(signed'(three[3*i +: 3]));
        2'd3: weights_o[i] = 8'(signed'(quarter[2*i +: 2]));
        default: weights_o[i] = word_i[8*i +: 8];
      endcase
    end
  end

  // Lane i holds weight i % n of output pass * 32 / n + i / n.
  logic [Group-1:0][3:0] outputs, ranks;
  logic [Group-1:0][3:0] found;

  always_comb begin
    for (int unsigned i = 0; i < Group; i++) begin
      unique case (kept_i)
        5'd2:    begin outputs[i] = 4'(i / 2);                  ranks[i] = 4'(i % 2); end
        5'd4:    begin outputs[i] = {pass_i[0], 3'(i / 4)};     ranks[i] = 4'(i % 4); end
        5'd8:    begin outputs[i] = {pass_i[1:0], 2'(i / 8)};   ranks[i] = 4'(i % 8); end
        default: begin outputs[i] = {pass_i, 1'(i / 16)};       ranks[i] = 4'(i % 16); end
      endcase
    end
  end

  always_comb begin
    for (int unsigned i = 0; i < Group; i++) begin
      places_o[i] = ranks[i];
      found[i]    = '0;
      if (kept_i != 5'd16) begin
        for (int unsigned k = 0; k < Block; k++) begin
          if (masks_i[outputs[i]][k]) begin
            if (found[i] == ranks[i]) places_o[i] = 4'(k);
            found[i] = found[i] + 4'd1;
          end
        end
      end
    end
  end

endmodule
