// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_weight_buffer: takes the weight stream of output tiles apart, and holds it until used.
// Stream of a tile: channel steps, then for every group its header (scales, selectors) and its
// steps of weights. A step comes as planes (bit b of all its codes), as many planes a word as fit.
// Latency:      a step is available in the cycle after its last word was taken. Codes, selectors
//               and scales follow step_read_i by 2 cycles and hold until those of the next step;
//               channel steps follow channel_read_i by 1 cycle.
// Throughput:   1 word in and 1 step out a cycle.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_bs_weight_buffer #(
  parameter int unsigned Rows = 8,
  parameter int unsigned Lanes = 4,
  parameter int unsigned ScaleBits = 8,
  parameter int unsigned PortBits = 256,
  parameter int unsigned WeightBufferSteps = 64,
  parameter int unsigned ScaleBufferGroups = 16
) (
  input  logic clk_i,
  input  logic rst_ni,

  // Constant while a stream is on its way.
  input  logic [plait_bs_pkg::FORMAT_BITS-1:0] format_i,
  input  logic [31:0]                          groups_i,
  input  logic [31:0]                          steps_per_group_i,
  input  logic [31:0]                          last_group_steps_i,

  input  logic                word_valid_i,
  output logic                word_ready_o,
  input  logic [PortBits-1:0] word_data_i,

  output logic                                                        step_available_o,
  input  logic                                                        step_read_i,   // next step
  input  logic                                                        group_read_i,  // first step
  output logic [Rows-1:0][Lanes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0] codes_o,
  output logic [Rows-1:0][plait_bs_pkg::SELECTOR_BITS-1:0]            selectors_o,
  output logic [Rows-1:0][ScaleBits-1:0]                              scales_o,

  input  logic                  channel_read_i,
  output logic [Rows-1:0][15:0] channel_steps_o  // FP16
);

  localparam int unsigned StepCodes = Rows * Lanes;
  localparam int unsigned PlanesPerWord = PortBits / StepCodes;
  localparam int unsigned WordsPerPlane = (StepCodes + PortBits - 1) / PortBits;
  localparam int unsigned StepBankWidth = WordsPerPlane > 1 ? PortBits : StepCodes;
  localparam int unsigned StepBanks = plait_bs_pkg::MAX_CODE_BITS * WordsPerPlane;
  localparam int unsigned ChannelTiles = 4;

  // A row's part of a header is HeaderBits wide: a channel step, or a scale and a selector.
  localparam int unsigned HeaderBits = 16;
  localparam int unsigned WordRows = PortBits / HeaderBits;
  localparam int unsigned BankRows = Rows < WordRows ? Rows : WordRows;
  localparam int unsigned HeaderWords = (Rows + WordRows - 1) / WordRows;
  localparam int unsigned GroupRowBits = plait_bs_pkg::SELECTOR_BITS + ScaleBits;
  localparam int unsigned SelectorOffset = 8;  // within a row's part of a group header

  localparam int unsigned MaxWords = StepBanks > HeaderWords ? StepBanks : HeaderWords;
  localparam int unsigned WordWidth = $clog2(MaxWords + 1);

  if (Rows == 0 || Lanes == 0) begin : gen_check_shape
    $fatal(1, "plait_bs_weight_buffer: Rows and Lanes must be at least 1");
  end
  if (PortBits < plait_bs_machine_pkg::DESCRIPTOR_BITS || PortBits % 32 != 0) begin : gen_check_port
    $fatal(1, "plait_bs_weight_buffer: PortBits must be a multiple of 32, 256 or more");
  end
  if (ScaleBits == 0 || ScaleBits > SelectorOffset) begin : gen_check_scale
    $fatal(1, "plait_bs_weight_buffer: ScaleBits must be 1 to 8");
  end

  // A smaller one would run dry behind the headers of a tile, though the memory never stalls.
  if (WeightBufferSteps < 2 * HeaderWords + 2 * WordsPerPlane + 4) begin : gen_check_steps
    $fatal(1, "plait_bs_weight_buffer: WeightBufferSteps bridge no headers between two tiles");
  end
  if (ScaleBufferGroups < 4) begin : gen_check_groups
    $fatal(1, "plait_bs_weight_buffer: ScaleBufferGroups must be at least 4");
  end

  typedef enum logic [1:0] {
    SectionChannel = 2'd0,
    SectionGroup = 2'd1,
    SectionStep = 2'd2
  } section_e;

  section_e             section_d, section_q;
  logic [WordWidth-1:0] word_d, word_q;  // within the section, or the step
  logic [31:0]          step_d, step_q;
  logic [31:0]          group_d, group_q;
  logic [WordWidth-1:0] last_step_word;
  logic                 is_last_word, is_last_step, is_last_group;
  logic                 channel_full, group_full, step_full;
  logic                 word_taken, push;

  // ---- Where the next word goes -----------------------------------------------------------------
  if (WordsPerPlane > 1) begin : gen_planes_of_words
    assign last_step_word = WordWidth'(32'(plait_bs_pkg::code_bits(format_i)) * WordsPerPlane - 1);
  end else begin : gen_words_of_planes
    assign last_step_word =
        WordWidth'((32'(plait_bs_pkg::code_bits(format_i)) - 1) / PlanesPerWord);
  end

  assign is_last_word  = word_q == (section_q == SectionStep ? last_step_word
                                                             : WordWidth'(HeaderWords - 1));
  assign is_last_group = group_q == groups_i - 1'b1;
  assign is_last_step  =
      step_q == (is_last_group ? last_group_steps_i : steps_per_group_i) - 1'b1;
  assign word_taken    = word_valid_i && word_ready_o;
  assign push          = word_taken && is_last_word;

  always_comb begin
    unique case (section_q)
      SectionChannel: word_ready_o = !channel_full;
      SectionGroup:   word_ready_o = !group_full;
      SectionStep:    word_ready_o = !step_full;
      default:        word_ready_o = 1'b0;
    endcase
  end

  always_comb begin
    section_d = section_q;
    word_d    = word_q;
    step_d    = step_q;
    group_d   = group_q;
    if (word_taken) word_d = is_last_word ? '0 : word_q + 1'b1;
    if (push) begin
      unique case (section_q)
        SectionChannel: section_d = SectionGroup;
        SectionGroup:   section_d = SectionStep;
        SectionStep: begin
          step_d = is_last_step ? '0 : step_q + 1'b1;
          if (is_last_step) begin
            section_d = is_last_group ? SectionChannel : SectionGroup;
            group_d   = is_last_group ? '0 : group_q + 1'b1;
          end
        end
        default:        section_d = SectionChannel;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      section_q <= SectionChannel;
      word_q    <= '0;
      step_q    <= '0;
      group_q   <= '0;
    end else begin
      section_q <= section_d;
      word_q    <= word_d;
      step_q    <= step_d;
      group_q   <= group_d;
    end
  end

  // ---- Channel steps ----------------------------------------------------------------------------
  logic [HeaderWords-1:0]                                                 header_word;  // one-hot
  logic [HeaderWords-1:0][BankRows*HeaderBits-1:0] channel_write, channel_data;
  logic [HeaderWords*BankRows*HeaderBits-1:0]      channel_bits;
  logic                                            unused_channel_available, unused_channel_bits;

  for (genvar word = 0; word < HeaderWords; word++) begin : gen_header_word
    assign header_word[word]   = word_q == WordWidth'(word);
    assign channel_write[word] = word_data_i[BankRows*HeaderBits-1:0];
  end

  plait_bs_banked_fifo #(
    .Banks    (HeaderWords),
    .BankWidth(BankRows * HeaderBits),
    .Depth    (ChannelTiles)
  ) u_channel_steps (
    .clk_i,
    .rst_ni,
    .write_enable_i(word_taken && section_q == SectionChannel ? header_word : '0),
    .write_data_i  (channel_write),
    .push_i        (push && section_q == SectionChannel),
    .full_o        (channel_full),
    .available_o   (unused_channel_available),
    .pop_i         (channel_read_i),
    .read_data_o   (channel_data)
  );

  assign channel_bits    = channel_data;
  assign channel_steps_o = channel_bits[Rows*HeaderBits-1:0];
  assign unused_channel_bits = ^channel_bits;  // the last word may hold more rows than there are

  // ---- Group headers ----------------------------------------------------------------------------
  logic [BankRows-1:0][GroupRowBits-1:0]             group_rows;
  logic [HeaderWords-1:0][BankRows*GroupRowBits-1:0] group_data;
  logic [HeaderWords*BankRows-1:0][GroupRowBits-1:0] group_fields;
  logic                                              unused_group_available;

  for (genvar row = 0; row < BankRows; row++) begin : gen_group_row
    assign group_rows[row] = {
      word_data_i[row*HeaderBits+SelectorOffset +: plait_bs_pkg::SELECTOR_BITS],
      word_data_i[row*HeaderBits +: ScaleBits]
    };
  end

  plait_bs_banked_fifo #(
    .Banks    (HeaderWords),
    .BankWidth(BankRows * GroupRowBits),
    .Depth    (ScaleBufferGroups)
  ) u_groups (
    .clk_i,
    .rst_ni,
    .write_enable_i(word_taken && section_q == SectionGroup ? header_word : '0),
    .write_data_i  ({HeaderWords{group_rows}}),
    .push_i        (push && section_q == SectionGroup),
    .full_o        (group_full),
    .available_o   (unused_group_available),
    .pop_i         (group_read_i),
    .read_data_o   (group_data)
  );

  assign group_fields = group_data;

  // ---- Steps of weights -------------------------------------------------------------------------
  logic [StepBanks-1:0]                    step_write_enable;
  logic [StepBanks-1:0][StepBankWidth-1:0] step_write, step_data;

  for (genvar bank = 0; bank < StepBanks; bank++) begin : gen_step_bank
    // Several words a plane, or several planes a word.
    localparam int unsigned Word = WordsPerPlane > 1 ? bank : bank / PlanesPerWord;
    localparam int unsigned Offset = WordsPerPlane > 1 ? 0 : (bank % PlanesPerWord) * StepCodes;
    assign step_write_enable[bank] =
        word_taken && section_q == SectionStep && word_q == WordWidth'(Word);
    assign step_write[bank] = word_data_i[Offset +: StepBankWidth];
  end

  plait_bs_banked_fifo #(
    .Banks    (StepBanks),
    .BankWidth(StepBankWidth),
    .Depth    (WeightBufferSteps)
  ) u_steps (
    .clk_i,
    .rst_ni,
    .write_enable_i(step_write_enable),
    .write_data_i  (step_write),
    .push_i        (push && section_q == SectionStep),
    .full_o        (step_full),
    .available_o   (step_available_o),
    .pop_i         (step_read_i),
    .read_data_o   (step_data)
  );

  // ---- Planes -> codes, once a step -------------------------------------------------------------
  logic [plait_bs_pkg::MAX_CODE_BITS-1:0][WordsPerPlane*StepBankWidth-1:0] stored_planes;
  logic [plait_bs_pkg::MAX_CODE_BITS-1:0][StepCodes-1:0]                   planes;
  logic [StepCodes-1:0][plait_bs_pkg::MAX_CODE_BITS-1:0]                   codes;
  logic                                                                    step_read_q;

  assign stored_planes = step_data;

  for (genvar plane = 0; plane < plait_bs_pkg::MAX_CODE_BITS; plane++) begin : gen_plane
    // Planes the format does not have hold what was there before.
    assign planes[plane] = 4'(plane) < plait_bs_pkg::code_bits(format_i)
                         ? stored_planes[plane][StepCodes-1:0] : '0;
  end

  plait_bs_transpose #(
    .Codes   (StepCodes),
    .CodeBits(plait_bs_pkg::MAX_CODE_BITS)
  ) u_transpose (
    .planes_i(planes),
    .codes_o (codes)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) step_read_q <= 1'b0;
    else step_read_q <= step_read_i;
  end

  always_ff @(posedge clk_i) begin
    if (step_read_q) begin
      codes_o <= codes;
      for (int unsigned row = 0; row < Rows; row++) begin
        {selectors_o[row], scales_o[row]} <= group_fields[row];
      end
    end
  end

  logic unused_word_bits;  // a word may hold more than this machine's rows
  assign unused_word_bits = ^word_data_i;

  `PLAIT_ASSERT(a_group_with_step, group_read_i |-> step_read_i)

endmodule
