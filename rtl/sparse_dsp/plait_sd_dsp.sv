// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_dsp: one weight times two activations, added to the cascade: one DSP48E2.
// Latency:      operands to sum_o 4 cycles: A and D, pre-adder, M, P. cascade_i is added on the last
//               edge, so the cell behind needs its operands a cycle later.
// Throughput:   1 pair of products a cycle.
// Combinational paths from input to output: none.
// Dsp48e2:      1 instantiates the primitive (yosys packs nothing into it by itself); 0 is the same
//               arithmetic for any other device: two products of 8 x 8 bits.
// Packing:      sum_o = high * weight * 2^Shift + low * weight + cascade. What the low lane borrows
//               from the high one, plait_sd_reduce gives back.

module plait_sd_dsp #(
  parameter int unsigned Shift = 18,
  parameter bit          Dsp48e2 = 1'b0,
  localparam int unsigned SumBits = 48
) (
  input  logic                      clk_i,
  input  logic signed [7:0]         weight_i,
  input  logic signed [7:0]         high_i,
  input  logic signed [7:0]         low_i,
  input  logic                      restart_i,  // do not add the cascade; with the operands
  input  logic        [SumBits-1:0] cascade_i,
  output logic        [SumBits-1:0] cascade_o,
  output logic        [SumBits-1:0] sum_o
);

  if (Shift < 16 || Shift > 18) begin : gen_check_shift
    $fatal(1, "plait_sd_dsp: Shift must be 16 to 18 (a product has 16 bits, the pre-adder 27)");
  end

  // The cascade is chosen three cycles behind the operands.
  logic restart_q, restart_q2;

  always_ff @(posedge clk_i) begin
    restart_q  <= restart_i;
    restart_q2 <= restart_q;
  end

  if (Dsp48e2) begin : gen_primitive
    logic [8:0] opmode;  // W 0, Z nothing or PCIN, Y and X the product
    assign opmode = {2'b00, restart_q2 ? 3'b000 : 3'b001, 4'b0101};

    DSP48E2 #(
      .AMULTSEL     ("AD"),
      .AREG         (1),
      .ACASCREG     (1),
      .DREG         (1),
      .ADREG        (1),
      .BREG         (2),
      .BCASCREG     (2),
      .CREG         (0),
      .MREG         (1),
      .PREG         (1),
      .INMODEREG    (0),
      .OPMODEREG    (1),
      .ALUMODEREG   (0),
      .CARRYINREG   (0),
      .CARRYINSELREG(0)
    ) u_dsp (
      .CLK          (clk_i),
      .A            (30'(high_i) <<< Shift),
      .B            (18'(weight_i)),
      .C            (48'd0),
      .D            (27'(low_i)),
      .ACIN         (30'd0),
      .BCIN         (18'd0),
      .PCIN         (cascade_i),
      .CARRYIN      (1'b0),
      .CARRYCASCIN  (1'b0),
      .MULTSIGNIN   (1'b0),
      .ALUMODE      (4'b0000),
      .CARRYINSEL   (3'b000),
      .INMODE       (5'b00100),  // D + A2, B2
      .OPMODE       (opmode),
      .CEA1         (1'b0),
      .CEA2         (1'b1),
      .CEAD         (1'b1),
      .CEALUMODE    (1'b0),
      .CEB1         (1'b1),
      .CEB2         (1'b1),
      .CEC          (1'b0),
      .CECARRYIN    (1'b0),
      .CECTRL       (1'b1),
      .CED          (1'b1),
      .CEINMODE     (1'b0),
      .CEM          (1'b1),
      .CEP          (1'b1),
      .RSTA         (1'b0),
      .RSTALLCARRYIN(1'b0),
      .RSTALUMODE   (1'b0),
      .RSTB         (1'b0),
      .RSTC         (1'b0),
      .RSTCTRL      (1'b0),
      .RSTD         (1'b0),
      .RSTINMODE    (1'b0),
      .RSTM         (1'b0),
      .RSTP         (1'b0),
      .ACOUT        (),
      .BCOUT        (),
      .PCOUT        (cascade_o),
      .P            (sum_o),
      .CARRYCASCOUT (),
      .CARRYOUT     (),
      .MULTSIGNOUT  (),
      .OVERFLOW     (),
      .PATTERNBDETECT(),
      .PATTERNDETECT(),
      .UNDERFLOW    (),
      .XOROUT       ()
    );
  end else begin : gen_plain
    // As long as the primitive, in stages of its own: operands, products, packing, sum.
    localparam int unsigned PackedBits = Shift + 17;

    logic                         restart_q3;
    logic signed [7:0]            weight_q, high_q, low_q;
    logic signed [15:0]           high_product_q, low_product_q;
    logic signed [PackedBits-1:0] packed_q;
    logic        [SumBits-1:0]    sum_q;

    always_ff @(posedge clk_i) begin
      restart_q3     <= restart_q2;
      weight_q       <= weight_i;
      high_q         <= high_i;
      low_q          <= low_i;
      high_product_q <= 16'(high_q) * 16'(weight_q);
      low_product_q  <= 16'(low_q) * 16'(weight_q);
      packed_q       <= (PackedBits'(high_product_q) <<< Shift) + PackedBits'(low_product_q);
      sum_q          <= SumBits'(packed_q) + (restart_q3 ? '0 : cascade_i);
    end

    assign cascade_o = sum_q;
    assign sum_o     = sum_q;
  end

endmodule
