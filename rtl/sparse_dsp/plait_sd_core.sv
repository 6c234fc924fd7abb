// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_core: the sparse DSP machine: program in memory, six queues, buffers, DSP array, special
// functions, one memory port.
// Latency:      see rtl/README.md; plait.sim.families.sparse_dsp_schedule gives it to the cycle.
// Throughput:   a word of the port a cycle in each direction, 32 weights a cycle.
// Combinational paths from input to output: none.

`include "plait_assert.svh"

module plait_sd_core #(
  parameter int unsigned PortBits = 256,
  parameter int unsigned Rows = 4,               // of an MM, and banks of A
  parameter bit          Dsp48e2 = 1'b0,         // instantiate the primitive of UltraScale+
  parameter int unsigned ABankEntries = 1024,    // words of the port, as all of these
  parameter int unsigned BEntries = 512,
  parameter int unsigned MetaEntries = 512,
  parameter int unsigned FsbEntries = 16,
  parameter int unsigned BiasEntries = 1024,
  parameter int unsigned GlobalEntries = 256,    // for each of three writers
  parameter int unsigned SegmentEntries = 1024,  // longest segment of a program
  parameter int unsigned QueueDepth = 8
) (
  input  logic clk_i,
  input  logic rst_ni,

  input  logic                                            start_i,
  input  logic [31:0]                                     descriptor_address_i,  // first segment
  output logic                                            busy_o,
  output logic                                            done_o,  // a pulse
  output plait_sd_machine_pkg::state_e                    state_o,
  output logic [plait_sd_machine_pkg::NUM_ERRORS-1:0]     error_o,   // until the next start
  output logic [31:0]                                     cycles_o,
  output logic [plait_sd_machine_pkg::NUM_COUNTERS-1:0][31:0] counters_o,

  output logic                mem_read_request_valid_o,
  input  logic                mem_read_request_ready_i,
  output logic [31:0]         mem_read_request_address_o,
  output logic [15:0]         mem_read_request_length_o,
  input  logic                mem_read_valid_i,
  output logic                mem_read_ready_o,
  input  logic [PortBits-1:0] mem_read_data_i,
  output logic                mem_write_valid_o,
  input  logic                mem_write_ready_i,
  output logic [31:0]         mem_write_address_o,
  output logic [PortBits-1:0] mem_write_data_o
);

  if (PortBits != plait_sd_machine_pkg::BLOCK_BITS) begin : gen_check_port
    $fatal(1, "plait_sd_core: PortBits must be 256, a block of 16 elements of 16 bits");
  end
  if (Rows == 0 || Rows > 8 || (Rows & (Rows - 1)) != 0) begin : gen_check_rows
    $fatal(1, "plait_sd_core: Rows must be 1, 2, 4 or 8, the banks an LD can name");
  end
  if ((ABankEntries & (ABankEntries - 1)) != 0 || Rows * ABankEntries > 4096) begin : gen_check_a
    $fatal(1, "plait_sd_core: ABankEntries must be a power of two, all banks at most 4096");
  end
  if (GlobalEntries > 1024 || BEntries > 4096 || MetaEntries > 4096 || FsbEntries > 4096
      || BiasEntries > 4096) begin : gen_check_buffers
    $fatal(1, "plait_sd_core: a buffer has more entries than its addresses reach");
  end

  localparam int unsigned Ld = plait_sd_machine_pkg::QUEUE_LD;
  localparam int unsigned St = plait_sd_machine_pkg::QUEUE_ST;
  localparam int unsigned Mm = plait_sd_machine_pkg::QUEUE_MM;
  localparam int unsigned Mv = plait_sd_machine_pkg::QUEUE_MV;
  localparam int unsigned Misc = plait_sd_machine_pkg::QUEUE_MISC;
  localparam int unsigned Units = plait_sd_machine_pkg::NUM_QUEUES - 1;

  // ---- Memory port: the program, then the data it asks for --------------------------------------
  logic                is_running, job_valid, job_ready, word_valid, word_ready;
  logic                fetch_job_valid, load_job_valid, load_word_ready;
  logic [31:0]         job_address, job_words;
  logic [31:0]         fetch_job_address, fetch_job_words, load_job_address, load_job_words;
  logic [PortBits-1:0] word_data;

  assign is_running  = state_o == plait_sd_machine_pkg::ControlRun;
  assign job_valid   = is_running ? load_job_valid : fetch_job_valid;
  assign job_address = is_running ? load_job_address : fetch_job_address;
  assign job_words   = is_running ? load_job_words : fetch_job_words;
  assign word_ready  = !is_running || load_word_ready;

  plait_bs_reader #(
    .PortBits(PortBits)
  ) u_reader (
    .clk_i,
    .rst_ni,
    .job_valid_i  (job_valid),
    .job_ready_o  (job_ready),
    .job_address_i(job_address),
    .job_words_i  (job_words),
    .mem_read_request_valid_o,
    .mem_read_request_ready_i,
    .mem_read_request_address_o,
    .mem_read_request_length_o,
    .mem_read_valid_i,
    .mem_read_ready_o,
    .mem_read_data_i,
    .word_valid_o (word_valid),
    .word_ready_i (word_ready),
    .word_data_o  (word_data)
  );

  // ---- Program ----------------------------------------------------------------------------------
  logic       fetch_done, fetch_bad, instruction_valid, instruction_ready, queues_idle;
  logic [2:0] instruction_queue;
  logic [plait_sd_machine_pkg::MAX_WORDS-1:0][31:0] instruction_words;

  plait_sd_fetch #(
    .PortBits   (PortBits),
    .BufferWords(SegmentEntries)
  ) u_fetch (
    .clk_i,
    .rst_ni,
    .start_i,
    .address_i          (descriptor_address_i),
    .done_o             (fetch_done),
    .is_bad_o           (fetch_bad),
    .state_o,
    .job_valid_o        (fetch_job_valid),
    .job_ready_i        (job_ready && !is_running),
    .job_address_o      (fetch_job_address),
    .job_words_o        (fetch_job_words),
    .word_valid_i       (word_valid && !is_running),
    .word_data_i        (word_data),
    .instruction_valid_o(instruction_valid),
    .instruction_ready_i(instruction_ready),
    .instruction_queue_o(instruction_queue),
    .instruction_words_o(instruction_words),
    .queues_idle_i      (queues_idle)
  );

  logic [Units-1:0]                                            unit_ready, unit_start, unit_done;
  logic [Units-1:0][plait_sd_machine_pkg::MAX_WORDS-1:0][31:0] unit_words;

  plait_sd_scheduler #(
    .QueueDepth(QueueDepth)
  ) u_scheduler (
    .clk_i,
    .rst_ni,
    .in_valid_i  (instruction_valid),
    .in_ready_o  (instruction_ready),
    .in_queue_i  (instruction_queue),
    .in_words_i  (instruction_words),
    .unit_ready_i(unit_ready),
    .unit_start_o(unit_start),
    .unit_words_o(unit_words),
    .unit_done_i (unit_done),
    .idle_o      (queues_idle)
  );

  plait_sd_machine_pkg::load_t     load;
  plait_sd_machine_pkg::store_t    store;
  plait_sd_machine_pkg::multiply_t multiply;
  plait_sd_machine_pkg::misc_t     misc;

  assign load     = unit_words[Ld];
  assign store    = unit_words[St][2:0];
  assign multiply = unit_start[Mm] ? unit_words[Mm][3:0] : unit_words[Mv][3:0];
  assign misc     = unit_words[Misc][2:0];

  // ---- LD ---------------------------------------------------------------------------------------
  logic                load_idle, load_write;
  logic [2:0]          load_mode, load_channel;
  logic [11:0]         load_address;
  logic [PortBits-1:0] load_data;

  plait_sd_load #(
    .PortBits(PortBits)
  ) u_load (
    .clk_i,
    .rst_ni,
    .start_i        (unit_start[Ld]),
    .ready_o        (unit_ready[Ld]),
    .load_i         (load),
    .done_o         (unit_done[Ld]),
    .idle_o         (load_idle),
    .job_valid_o    (load_job_valid),
    .job_ready_i    (job_ready && is_running),
    .job_address_o  (load_job_address),
    .job_words_o    (load_job_words),
    .word_valid_i   (word_valid && is_running),
    .word_ready_o   (load_word_ready),
    .word_data_i    (word_data),
    .write_enable_o (load_write),
    .write_mode_o   (load_mode),
    .write_channel_o(load_channel),
    .write_address_o(load_address),
    .write_data_o   (load_data)
  );

  // ---- Buffers of operands ----------------------------------------------------------------------
  localparam int unsigned BankBits = Rows > 1 ? $clog2(Rows) : 1;
  localparam int unsigned ABits = $clog2(ABankEntries);

  logic                          multiply_read;
  logic [11:0]                   a_address, b_address, meta_address;
  logic [16:0]                   fsb_address;
  logic [Rows-1:0][PortBits-1:0] a_rows;
  logic [PortBits-1:0]           b_word, meta_word, fsb_word;
  logic [BankBits-1:0]           a_bank_q;

  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    plait_ram_1r1w #(
      .Width(PortBits),
      .Depth(ABankEntries)
    ) u_a (
      .clk_i,
      .write_enable_i (load_write && load_mode == plait_sd_machine_pkg::LOAD_A
                       && load_channel == 3'(r)),
      .write_address_i(load_address[ABits-1:0]),
      .write_data_i   (load_data),
      .read_enable_i  (multiply_read),
      .read_address_i (a_address[ABits-1:0]),
      .read_data_o    (a_rows[r])
    );
  end

  // MV sees the banks as one memory.
  always_ff @(posedge clk_i) begin
    if (multiply_read) a_bank_q <= Rows > 1 ? BankBits'(a_address >> ABits) : '0;
  end

  plait_ram_1r1w #(
    .Width(PortBits),
    .Depth(BEntries)
  ) u_b (
    .clk_i,
    .write_enable_i (load_write && load_mode == plait_sd_machine_pkg::LOAD_B),
    .write_address_i(load_address[$clog2(BEntries)-1:0]),
    .write_data_i   (load_data),
    .read_enable_i  (multiply_read),
    .read_address_i (b_address[$clog2(BEntries)-1:0]),
    .read_data_o    (b_word)
  );

  plait_ram_1r1w #(
    .Width(PortBits),
    .Depth(MetaEntries)
  ) u_meta (
    .clk_i,
    .write_enable_i (load_write && load_mode == plait_sd_machine_pkg::LOAD_META),
    .write_address_i(load_address[$clog2(MetaEntries)-1:0]),
    .write_data_i   (load_data),
    .read_enable_i  (multiply_read),
    .read_address_i (meta_address[$clog2(MetaEntries)-1:0]),
    .read_data_o    (meta_word)
  );

  // Kept weights of a block, a byte each, in registers: the next group depends on them at once.
  logic [FsbEntries-1:0][PortBits-1:0] fsb_q;

  always_ff @(posedge clk_i) begin
    if (load_write && load_mode == plait_sd_machine_pkg::LOAD_FSB) begin
      fsb_q[load_address[$clog2(FsbEntries)-1:0]] <= load_data;
    end
  end

  assign fsb_word = fsb_q[fsb_address[5 +: $clog2(FsbEntries)]];

  logic                misc_constants;
  logic [11:0]         misc_constants_address, multiply_bias_address;
  logic                multiply_bias;
  logic [PortBits-1:0] misc_word, bias_word;

  plait_ram_1r1w #(
    .Width(PortBits),
    .Depth(BiasEntries)
  ) u_bias (
    .clk_i,
    .write_enable_i (load_write && load_mode == plait_sd_machine_pkg::LOAD_BIAS),
    .write_address_i(load_address[$clog2(BiasEntries)-1:0]),
    .write_data_i   (load_data),
    .read_enable_i  (multiply_bias),
    .read_address_i (multiply_bias_address[$clog2(BiasEntries)-1:0]),
    .read_data_o    (bias_word)
  );

  plait_ram_1r1w #(
    .Width(PortBits),
    .Depth(BiasEntries)
  ) u_constants (
    .clk_i,
    .write_enable_i (load_write && load_mode == plait_sd_machine_pkg::LOAD_BIAS),
    .write_address_i(load_address[$clog2(BiasEntries)-1:0]),
    .write_data_i   (load_data),
    .read_enable_i  (misc_constants),
    .read_address_i (misc_constants_address[$clog2(BiasEntries)-1:0]),
    .read_data_o    (misc_word)
  );

  // ---- MM and MV --------------------------------------------------------------------------------
  logic                multiply_ready, multiply_done, multiply_is_mm, multiply_write;
  logic [11:0]         multiply_write_address;
  logic [PortBits-1:0] multiply_write_data;

  plait_sd_multiply #(
    .Rows   (Rows),
    .Dsp48e2(Dsp48e2)
  ) u_multiply (
    .clk_i,
    .rst_ni,
    .start_i        (unit_start[Mm] || unit_start[Mv]),
    .is_mm_i        (unit_start[Mm]),
    .multiply_i     (multiply),
    .ready_o        (multiply_ready),
    .done_o         (multiply_done),
    .is_mm_o        (multiply_is_mm),
    .read_enable_o  (multiply_read),
    .a_address_o    (a_address),
    .b_address_o    (b_address),
    .meta_address_o (meta_address),
    .fsb_address_o  (fsb_address),
    .weights_a_i    (a_rows[a_bank_q]),
    .rows_a_i       (a_rows),
    .b_i            (b_word),
    .meta_i         (meta_word),
    .fsb_data_i     (fsb_word[8*fsb_address[4:0] +: 8]),
    .bias_enable_o  (multiply_bias),
    .bias_address_o (multiply_bias_address),
    .bias_i         (bias_word),
    .write_enable_o (multiply_write),
    .write_address_o(multiply_write_address),
    .write_data_o   (multiply_write_data)
  );

  assign unit_ready[Mm] = multiply_ready;
  assign unit_ready[Mv] = multiply_ready;
  assign unit_done[Mm]  = multiply_done && multiply_is_mm;
  assign unit_done[Mv]  = multiply_done && !multiply_is_mm;

  // ---- MISC -------------------------------------------------------------------------------------
  logic                misc_unknown, misc_read, misc_write;
  logic [11:0]         misc_left_address, misc_right_address, misc_write_address;
  logic [PortBits-1:0] misc_left, misc_right, misc_write_data;
  plait_sd_machine_pkg::special_constants_t special_constants;

  assign special_constants = misc_word[$bits(special_constants)-1:0];

  plait_sd_special u_special (
    .clk_i,
    .rst_ni,
    .start_i            (unit_start[Misc]),
    .ready_o            (unit_ready[Misc]),
    .done_o             (unit_done[Misc]),
    .operation_i        (misc.operation),
    .k_blocks_i         (misc.k_blocks),
    .left_address_i     (misc.a_address),
    .right_address_i    (misc.b_address),
    .out_address_i      (misc.out_address),
    .constants_address_i(misc.constants),
    .is_unknown_o       (misc_unknown),
    .constants_enable_o (misc_constants),
    .constants_address_o(misc_constants_address),
    .constants_i        (special_constants),
    .read_enable_o      (misc_read),
    .left_address_o     (misc_left_address),
    .right_address_o    (misc_right_address),
    .left_i             (misc_left),
    .right_i            (misc_right),
    .write_enable_o     (misc_write),
    .write_address_o    (misc_write_address),
    .write_data_o       (misc_write_data)
  );

  // ---- ST ---------------------------------------------------------------------------------------
  logic                store_read;
  logic [11:0]         store_address;
  logic [PortBits-1:0] store_word;

  plait_sd_store #(
    .PortBits(PortBits)
  ) u_store (
    .clk_i,
    .rst_ni,
    .start_i       (unit_start[St]),
    .ready_o       (unit_ready[St]),
    .store_i       (store),
    .done_o        (unit_done[St]),
    .read_enable_o (store_read),
    .read_address_o(store_address),
    .read_data_i   (store_word),
    .mem_write_valid_o,
    .mem_write_ready_i,
    .mem_write_address_o,
    .mem_write_data_o
  );

  // ---- Global buffer ----------------------------------------------------------------------------
  plait_sd_global_buffer #(
    .Width  (PortBits),
    .Entries(GlobalEntries)
  ) u_global (
    .clk_i,
    .write_enable_i ({multiply_write, misc_write,
                      load_write && load_mode == plait_sd_machine_pkg::LOAD_GLOBAL}),
    .write_address_i({multiply_write_address, misc_write_address, load_address}),
    .write_data_i   ({multiply_write_data, misc_write_data, load_data}),
    .read_enable_i  ({store_read, misc_read, misc_read}),
    .read_address_i ({store_address, misc_right_address, misc_left_address}),
    .read_data_o    ({store_word, misc_right, misc_left})
  );

  // ---- Run, errors, counters --------------------------------------------------------------------
  logic                                                   done_q;
  logic [plait_sd_machine_pkg::NUM_ERRORS-1:0]            error_d, error_q;
  logic [31:0]                                            cycles_q;
  logic [plait_sd_machine_pkg::NUM_COUNTERS-1:0][31:0]    counters_q;
  plait_sd_machine_pkg::cause_e                           cause;

  always_comb begin
    cause = plait_sd_machine_pkg::CauseSchedule;
    if (!unit_ready[St]) cause = plait_sd_machine_pkg::CauseStore;
    if (!load_idle) cause = plait_sd_machine_pkg::CauseLoad;
    if (!unit_ready[Misc]) cause = plait_sd_machine_pkg::CauseSpecial;
    if (!multiply_ready) cause = plait_sd_machine_pkg::CauseCompute;
    if (!is_running) cause = plait_sd_machine_pkg::CauseFetch;
  end

  always_comb begin
    error_d = start_i ? '0 : error_q;
    if (fetch_bad) error_d[plait_sd_machine_pkg::ERROR_PROGRAM] = 1'b1;
    if (misc_unknown || (load_write && load_mode > plait_sd_machine_pkg::LOAD_GLOBAL)) begin
      error_d[plait_sd_machine_pkg::ERROR_OPERATION] = 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      done_q  <= 1'b0;
      error_q <= '0;
    end else begin
      done_q  <= fetch_done;
      error_q <= error_d;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      cycles_q   <= '0;
      counters_q <= '0;
    end else if (busy_o) begin
      cycles_q          <= cycles_q + 32'd1;
      counters_q[cause] <= counters_q[cause] + 32'd1;
    end
  end

  assign busy_o     = state_o != plait_sd_machine_pkg::ControlIdle;
  assign done_o     = done_q;
  assign error_o    = error_q;
  assign cycles_o   = cycles_q;
  assign counters_o = counters_q;

  logic unused_bits;
  assign unused_bits = ^{misc_word, misc.head, misc.mask, misc.unused_middle, misc.unused_low,
                         unit_words[St], unit_words[Mm], unit_words[Mv], unit_words[Misc],
                         load_address, a_address, b_address, meta_address, fsb_address,
                         misc_constants_address, multiply_bias_address};

  `PLAIT_ASSERT(a_start_while_idle, start_i |-> !busy_o)

endmodule
