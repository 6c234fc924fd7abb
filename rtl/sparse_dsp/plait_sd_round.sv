// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_round: a product shifted right, rounded to nearest even, saturated to 8 or 16 bits.
// Latency:      0 cycles, combinational from every input to result_o.
// Throughput:   1 a cycle.

module plait_sd_round #(
  parameter int unsigned Width = 52  // the product is smaller than 2**(Width - 2) in magnitude
) (
  input  logic signed [Width-1:0] product_i,
  input  logic [5:0]              shift_i,
  input  logic                    is_int8_i,
  output logic signed [15:0]      result_o
);

  if (Width < 18 || Width > 64) begin : gen_check_width
    $fatal(1, "plait_sd_round: Width must be 18 to 64");
  end

  localparam logic [5:0] LargestShift = 6'(Width - 1);  // the result is 0 from there on

  logic [5:0]              shift;
  logic signed [Width-1:0] kept, rounded, largest;
  logic [Width-1:0]        unit, rest;
  logic                    is_up;

  assign shift   = shift_i > LargestShift ? LargestShift : shift_i;
  assign kept    = product_i >>> shift;
  assign unit    = Width'(1) << shift;
  assign rest    = unsigned'(product_i) & (unit - Width'(1));
  // Above the tie, or at it with an odd last place.
  assign is_up   = rest > (unit >> 1) || (rest == (unit >> 1) && kept[0] && shift != '0);
  assign rounded = kept + signed'(Width'(is_up));
  assign largest = is_int8_i ? Width'(signed'(16'sd127)) : Width'(signed'(16'sd32767));

  always_comb begin
    result_o = 16'(rounded);
    if (rounded > largest) result_o = 16'(largest);
    if (rounded < ~largest) result_o = 16'(~largest);
  end

endmodule
