// SPDX-License-Identifier: Apache-2.0
//
// dsp48e2_bench: the simulation model of DSP48E2 with the ports that its bench drives.

module dsp48e2_bench #(
  parameter int unsigned Areg = 1,
  parameter int unsigned Breg = 2,
  parameter int unsigned Creg = 0,
  parameter int unsigned Dreg = 1,
  parameter int unsigned Adreg = 1,
  parameter int unsigned Mreg = 1,
  parameter int unsigned Preg = 1,
  parameter int unsigned Opmodereg = 1,
  parameter bit          PreAdder = 1'b1
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [29:0] a_i,
  input  logic [17:0] b_i,
  input  logic [47:0] c_i,
  input  logic [26:0] d_i,
  input  logic [47:0] pcin_i,
  input  logic [4:0]  inmode_i,
  input  logic [8:0]  opmode_i,
  input  logic [3:0]  alumode_i,
  output logic [47:0] pcout_o,
  output logic [47:0] p_o
);

  DSP48E2 #(
    .AMULTSEL  (PreAdder ? "AD" : "A"),
    .AREG      (Areg),
    .BREG      (Breg),
    .CREG      (Creg),
    .DREG      (Dreg),
    .ADREG     (Adreg),
    .MREG      (Mreg),
    .PREG      (Preg),
    .OPMODEREG (Opmodereg),
    .INMODEREG (0),
    .ALUMODEREG(0),
    .RND       (48'd5)
  ) u_dsp (
    .CLK(clk_i), .A(a_i), .B(b_i), .C(c_i), .D(d_i), .ACIN('0), .BCIN('0), .PCIN(pcin_i),
    .CARRYIN('0), .CARRYCASCIN('0), .MULTSIGNIN('0), .ALUMODE(alumode_i), .CARRYINSEL('0),
    .INMODE(inmode_i), .OPMODE(opmode_i), .CEA1('1), .CEA2('1), .CEAD('1), .CEALUMODE('1),
    .CEB1('1), .CEB2('1), .CEC('1), .CECARRYIN('1), .CECTRL('1), .CED('1), .CEINMODE('1),
    .CEM('1), .CEP('1), .RSTA(!rst_ni), .RSTALLCARRYIN('0), .RSTALUMODE(!rst_ni),
    .RSTB(!rst_ni), .RSTC(!rst_ni), .RSTCTRL(!rst_ni), .RSTD(!rst_ni), .RSTINMODE(!rst_ni),
    .RSTM(!rst_ni), .RSTP(!rst_ni),
    /* verilator lint_off PINCONNECTEMPTY */
    .ACOUT(), .BCOUT(), .PCOUT(pcout_o), .P(p_o), .CARRYCASCOUT(), .CARRYOUT(), .MULTSIGNOUT(),
    .OVERFLOW(), .PATTERNBDETECT(), .PATTERNDETECT(), .UNDERFLOW(), .XOROUT()
    /* verilator lint_on PINCONNECTEMPTY */
  );

endmodule
