// SPDX-License-Identifier: Apache-2.0
//
// DSP48E2: simulation model of the Xilinx UltraScale+ primitive, as far as multiply and add go
// (UG579). For simulation only: synthesis knows the primitive by itself.
// Latency:      as the register parameters say.
// Throughput:   1 operation a cycle.
// Combinational paths from input to output: any, without PREG.
//
// Not modelled, and refused or not driven: SIMD, pattern detection, wide XOR, the D-input variants of
// the B multiplexer, logic functions, carries. Outputs of what is not modelled are 0.

module DSP48E2 #(
  parameter int unsigned AREG = 1,
  parameter int unsigned ACASCREG = AREG,
  parameter int unsigned ADREG = 1,
  parameter int unsigned BREG = 1,
  parameter int unsigned BCASCREG = BREG,
  parameter int unsigned CREG = 1,
  parameter int unsigned DREG = 1,
  parameter int unsigned MREG = 1,
  parameter int unsigned PREG = 1,
  parameter int unsigned INMODEREG = 1,
  parameter int unsigned OPMODEREG = 1,
  parameter int unsigned ALUMODEREG = 1,
  parameter int unsigned CARRYINREG = 1,
  parameter int unsigned CARRYINSELREG = 1,
  parameter string       AMULTSEL = "A",
  parameter string       A_INPUT = "DIRECT",
  parameter string       B_INPUT = "DIRECT",
  parameter logic [47:0] RND = 48'd0
) (
  input  logic        CLK,
  input  logic [29:0] A,
  input  logic [17:0] B,
  input  logic [47:0] C,
  input  logic [26:0] D,
  input  logic [29:0] ACIN,
  input  logic [17:0] BCIN,
  input  logic [47:0] PCIN,
  input  logic        CARRYIN,
  input  logic        CARRYCASCIN,
  input  logic        MULTSIGNIN,
  input  logic [3:0]  ALUMODE,
  input  logic [2:0]  CARRYINSEL,
  input  logic [4:0]  INMODE,
  input  logic [8:0]  OPMODE,
  input  logic        CEA1,
  input  logic        CEA2,
  input  logic        CEAD,
  input  logic        CEALUMODE,
  input  logic        CEB1,
  input  logic        CEB2,
  input  logic        CEC,
  input  logic        CECARRYIN,
  input  logic        CECTRL,
  input  logic        CED,
  input  logic        CEINMODE,
  input  logic        CEM,
  input  logic        CEP,
  input  logic        RSTA,
  input  logic        RSTALLCARRYIN,
  input  logic        RSTALUMODE,
  input  logic        RSTB,
  input  logic        RSTC,
  input  logic        RSTCTRL,
  input  logic        RSTD,
  input  logic        RSTINMODE,
  input  logic        RSTM,
  input  logic        RSTP,
  output logic [29:0] ACOUT,
  output logic [17:0] BCOUT,
  output logic [47:0] PCOUT,
  output logic [47:0] P,
  output logic        CARRYCASCOUT,
  output logic [3:0]  CARRYOUT,
  output logic        MULTSIGNOUT,
  output logic        OVERFLOW,
  output logic        PATTERNBDETECT,
  output logic        PATTERNDETECT,
  output logic        UNDERFLOW,
  output logic [7:0]  XOROUT
);

  if (AREG > 2 || BREG > 2 || ACASCREG != AREG || BCASCREG != BREG) begin : gen_check_registers
    $fatal(1, "DSP48E2: AREG and BREG must be 0 to 2, ACASCREG and BCASCREG as they");
  end

  // ---- Operand registers: with one register it is the second, A2 or B2 ---------------------------
  logic [29:0] a_direct, a1_q, a2_q, a1, a2;
  logic [17:0] b_direct, b1_q, b2_q, b1, b2;
  logic [47:0] c_q, c;
  logic [26:0] d_q, d;
  logic [4:0]  inmode_q, inmode;
  logic [8:0]  opmode_q, opmode;
  logic [3:0]  alumode_q, alumode;

  assign a_direct = A_INPUT == "CASCADE" ? ACIN : A;
  assign b_direct = B_INPUT == "CASCADE" ? BCIN : B;

  always_ff @(posedge CLK) begin
    if (RSTA) a1_q <= '0;
    else if (CEA1) a1_q <= a_direct;
    if (RSTA) a2_q <= '0;
    else if (CEA2) a2_q <= a1;
    if (RSTB) b1_q <= '0;
    else if (CEB1) b1_q <= b_direct;
    if (RSTB) b2_q <= '0;
    else if (CEB2) b2_q <= b1;
    if (RSTC) c_q <= '0;
    else if (CEC) c_q <= C;
    if (RSTD) d_q <= '0;
    else if (CED) d_q <= D;
    if (RSTINMODE) inmode_q <= '0;
    else if (CEINMODE) inmode_q <= INMODE;
    if (RSTCTRL) opmode_q <= '0;
    else if (CECTRL) opmode_q <= OPMODE;
    if (RSTALUMODE) alumode_q <= '0;
    else if (CEALUMODE) alumode_q <= ALUMODE;
  end

  assign a1      = AREG == 2 ? a1_q : a_direct;
  assign a2      = AREG != 0 ? a2_q : a1;
  assign b1      = BREG == 2 ? b1_q : b_direct;
  assign b2      = BREG != 0 ? b2_q : b1;
  assign c       = CREG != 0 ? c_q : C;
  assign d       = DREG != 0 ? d_q : D;
  assign inmode  = INMODEREG != 0 ? inmode_q : INMODE;
  assign opmode  = OPMODEREG != 0 ? opmode_q : OPMODE;
  assign alumode = ALUMODEREG != 0 ? alumode_q : ALUMODE;

  // ---- Pre-adder and multiplier ------------------------------------------------------------------
  logic [26:0]        a_gated, d_gated, ad_d, ad_q, ad, multiplicand;
  logic [17:0]        multiplier;
  logic signed [44:0] m_d, m_q, m;

  assign a_gated      = inmode[1] ? '0 : (inmode[0] ? a1[26:0] : a2[26:0]);
  assign d_gated      = inmode[2] ? d : '0;
  assign ad_d         = inmode[3] ? d_gated - a_gated : d_gated + a_gated;
  assign ad           = ADREG != 0 ? ad_q : ad_d;
  assign multiplicand = AMULTSEL == "AD" ? ad : a_gated;
  assign multiplier   = inmode[4] ? b1 : b2;
  assign m_d          = 45'(signed'(multiplicand)) * 45'(signed'(multiplier));
  assign m            = MREG != 0 ? m_q : m_d;

  always_ff @(posedge CLK) begin
    if (RSTD) ad_q <= '0;
    else if (CEAD) ad_q <= ad_d;
    if (RSTM) m_q <= '0;
    else if (CEM) m_q <= m_d;
  end

  // ---- Adder of four -----------------------------------------------------------------------------
  logic [47:0] w, x, y, z, p_d, p_q;

  always_comb begin
    unique case (opmode[8:7])
      2'b00:   w = '0;
      2'b01:   w = p_q;
      2'b10:   w = RND;
      default: w = c;
    endcase
    unique case (opmode[1:0])
      2'b00:   x = '0;
      2'b01:   x = 48'(m);  // the product, if Y says so too
      2'b10:   x = p_q;
      default: x = {a2, b2};
    endcase
    unique case (opmode[3:2])
      2'b10:   y = '1;
      2'b11:   y = c;
      default: y = '0;
    endcase
    unique case (opmode[6:4])
      3'b000:  z = '0;
      3'b001:  z = PCIN;
      3'b011:  z = c;
      3'b101:  z = 48'(signed'(PCIN) >>> 17);
      3'b110:  z = 48'(signed'(p_q) >>> 17);
      default: z = p_q;
    endcase
    unique case (alumode)
      4'b0000: p_d = z + w + x + y;
      4'b0011: p_d = z - (w + x + y);
      4'b0001: p_d = ~z + w + x + y;
      default: p_d = ~(z + w + x + y);
    endcase
  end

  always_ff @(posedge CLK) begin
    if (RSTP) p_q <= '0;
    else if (CEP) p_q <= p_d;
  end

  assign P            = PREG != 0 ? p_q : p_d;
  assign PCOUT        = P;
  assign ACOUT        = a2;
  assign BCOUT        = b2;
  assign CARRYCASCOUT = 1'b0;
  assign CARRYOUT     = '0;
  assign MULTSIGNOUT  = 1'b0;
  assign {OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW, XOROUT} = '0;

  logic unused_inputs;
  assign unused_inputs = ^{CARRYIN, CARRYCASCIN, MULTSIGNIN, CARRYINSEL, CECARRYIN, RSTALLCARRYIN,
                           CARRYINREG != 0, CARRYINSELREG != 0};

`ifndef SYNTHESIS
  // Of the inputs: what the registers hold before their first clock edge is no setting of anybody.
  a_modes_modelled: assert property (@(posedge CLK) disable iff ($time == 0)
      ALUMODE <= 4'd3 && (OPMODE[1:0] == 2'b01) == (OPMODE[3:2] == 2'b01)
      && !CARRYIN && CARRYINSEL == '0);
`endif

endmodule
