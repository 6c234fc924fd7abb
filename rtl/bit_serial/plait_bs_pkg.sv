// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_pkg: types, constants and term decoder of the bit-serial family.
// Written by plait.hwgen.bit_serial.package from the formats' own tables; do not edit.
// (Functions hold literals, not the constants above them: yosys does not resolve a package's names
// in a function that another module calls.)

package plait_bs_pkg;

  // ---- Formats: value = sum of (-1)^sign * man * 2^exponent * 2^shift, one term a cycle ---------
  localparam int unsigned NUM_FORMATS = 8;
  localparam int unsigned FORMAT_BITS = 4;
  localparam int unsigned MAX_CODE_BITS = 8;
  localparam int unsigned MAX_TERMS = 4;
  localparam int unsigned TERM_INDEX_BITS = 2;
  localparam int unsigned SELECTOR_BITS = 2;
  localparam int unsigned TERM_EXPONENT_BITS = 3;
  localparam int unsigned MAX_TERM_EXPONENT = 6;
  localparam int unsigned MAX_SHIFT = 6;
  localparam int unsigned SHIFT_BITS = 3;
  localparam int unsigned TABLE_ADDRESS_BITS = 11;
  localparam int unsigned TERM_BITS = 5;

  typedef struct packed {
    logic       sign;      // the term is subtracted
    logic       man;       // the term is there
    logic [2:0] exponent;
  } term_t;

  // ---- Arithmetic that no parameter changes -----------------------------------------------------
  localparam int unsigned FP16_MANTISSA_BITS = 11;  // with the hidden one
  localparam int unsigned FP16_EXPONENT_BITS = 5;
  localparam int unsigned FP16_UNIT_EXPONENT = 25;  // value = mantissa * 2^(exponent - 25)
  // Exponents of PE and accumulators: activation 30 and term 8 at most, or those of a sum of 2^16
  // products with 8-bit weights and scales beyond its mantissa.
  localparam int unsigned EXPONENT_BITS = 6;
  // INT8 activations: exact sums of up to 2^16 products of 8 by 8 bits, and of those times a scale.
  localparam int unsigned INTEGER_ACCUMULATOR_BITS = 32;
  localparam int unsigned INTEGER_OUTPUT_BITS = 40;

  // Index of the last term of a weight.
  function automatic logic [1:0] last_term(logic [3:0] format_index);
    unique case (format_index)
      4'd0: last_term = 2'd1;  // bitmod3
      4'd1: last_term = 2'd1;  // bitmod4
      4'd2: last_term = 2'd1;  // int4
      4'd3: last_term = 2'd2;  // int5
      4'd4: last_term = 2'd2;  // int6
      4'd5: last_term = 2'd3;  // int8
      4'd6: last_term = 2'd1;  // flint4
      4'd7: last_term = 2'd2;  // fp6-e2m3
      default: last_term = 2'd0;
    endcase
  endfunction

  // Bits of a code.
  function automatic logic [3:0] code_bits(logic [3:0] format_index);
    unique case (format_index)
      4'd0: code_bits = 4'd3;  // bitmod3
      4'd1: code_bits = 4'd4;  // bitmod4
      4'd2: code_bits = 4'd4;  // int4
      4'd3: code_bits = 4'd5;  // int5
      4'd4: code_bits = 4'd6;  // int6
      4'd5: code_bits = 4'd8;  // int8
      4'd6: code_bits = 4'd4;  // flint4
      4'd7: code_bits = 4'd6;  // fp6-e2m3
      default: code_bits = 4'd0;
    endcase
  endfunction

  // Power of two that all codes of a format share at a term.
  function automatic logic [2:0] term_shift(
      logic [3:0] format_index, logic [1:0] term_index);
    unique case ({format_index, term_index})
      {4'd2, 2'd1}: term_shift = 3'd2;  // int4
      {4'd3, 2'd1}: term_shift = 3'd2;  // int5
      {4'd3, 2'd2}: term_shift = 3'd4;  // int5
      {4'd4, 2'd1}: term_shift = 3'd2;  // int6
      {4'd4, 2'd2}: term_shift = 3'd4;  // int6
      {4'd5, 2'd1}: term_shift = 3'd2;  // int8
      {4'd5, 2'd2}: term_shift = 3'd4;  // int8
      {4'd5, 2'd3}: term_shift = 3'd6;  // int8
      default: term_shift = 3'd0;
    endcase
  endfunction

  // Where an entry of TERM_TABLE lies: every format's block at a multiple of its own size.
  function automatic logic [10:0] term_address(
      logic [3:0] format_index, logic [1:0] selector,
      logic [1:0] term_index, logic [7:0] code);
    unique case (format_index)
      4'd0: term_address = {5'd28, selector[1:0], term_index[0:0], code[2:0]};  // bitmod3
      4'd1: term_address = {4'd12, selector[1:0], term_index[0:0], code[3:0]};  // bitmod4
      4'd2: term_address = {6'd58, term_index[0:0], code[3:0]};  // int4
      4'd3: term_address = {4'd13, term_index[1:0], code[4:0]};  // int5
      4'd4: term_address = {3'd4, term_index[1:0], code[5:0]};  // int6
      4'd5: term_address = {1'd0, term_index[1:0], code[7:0]};  // int8
      4'd6: term_address = {6'd59, term_index[0:0], code[3:0]};  // flint4
      4'd7: term_address = {3'd5, term_index[1:0], code[5:0]};  // fp6-e2m3
      default: term_address = 11'd0;
    endcase
  endfunction

  // The terms of every code, 5 bits each as in term_t, the highest address first.
  // (A constant and not a case statement: Verilator turns it into one look-up.)
  localparam logic [2048*5-1:0] TERM_TABLE = {
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00320c00000012040000,
    80'he6f5ace70062d4a4a500,  // flint4
    80'h00318c63204a50842000,
    80'hc6500c6500c6500c6500,  // int4
    80'h0001900000d671a52500,
    80'h0000900000d670a52500,
    80'h0001800000d671952500,
    80'h0000800000d670952500,  // bitmod3
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h0000000000c6318c6300,
    80'h42108421080000000000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,  // int5
    80'hd0320c00005012040000,
    80'hdef5ace71c5ad4a4a500,
    80'hd0320c00005012040000,
    80'hdef5ace70c5ad4a4a500,
    80'hd0320c00195012040000,
    80'hdef5ace71b5ad4a4a500,
    80'hd0320c00095012040000,
    80'hdef5ace70b5ad4a4a500,  // bitmod4
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h06f40d000006b20c8000,
    80'h06700c0000c000000000,
    80'h02d40500000292048000,
    80'h02500400004000000000,
    80'h5739cdef404ef7bd6b20,
    80'h46b5ace700ce700c0000,
    80'hd318c5ad40cad6b52920,
    80'hc294a4a5004a50040000,
    80'hf77bdef7bdef39ce739c,
    80'he6f7bdef7bd6b5ace700,
    80'h735ad6b5ad6b18c6318c,
    80'h62d6b5ad6b5294a4a500,  // fp6-e2m3
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h0000000000c6318c6318,
    80'hc6318c6318ce739ce720,
    80'h4a5294a5294210842108,
    80'h42108421080000000000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,  // int6
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'hc6318c6318c6318c6318,
    80'hc6318c6318c6318c6318,
    80'hc6318c6318c6318c6318,
    80'hc6318c6318c6318c6318,
    80'hce739ce739ce739ce739,
    80'hce739ce739ce739ce720,
    80'h4a5294a5294a5294a529,
    80'h4a5294a5294a5294a529,
    80'h42108421084210842108,
    80'h42108421084210842108,
    80'h42108421084210842108,
    80'h42108421084210842108,
    80'h00000000000000000000,
    80'h00000000000000000000,
    80'h0000000000c6318c6318,
    80'hc6318c6318ce739ce739,
    80'h4a5294a5294210842108,
    80'h42108421080000000000,
    80'h0000000000c6318c6318,
    80'hc6318c6318ce739ce739,
    80'h4a5294a5294210842108,
    80'h42108421080000000000,
    80'h0000000000c6318c6318,
    80'hc6318c6318ce739ce739,
    80'h4a5294a5294210842108,
    80'h42108421080000000000,
    80'h0000000000c6318c6318,
    80'hc6318c6318ce739ce739,
    80'h4a5294a5294210842108,
    80'h42108421080000000000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'h00318c63394a50842000,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500,
    80'hc6500c6500c6500c6500  // int8
  };

endpackage
