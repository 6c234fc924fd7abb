// SPDX-License-Identifier: Apache-2.0
//
// plait_sd_machine_pkg: types of the machine around the DSP chains: queues, instructions, states,
// causes of cycles. The bits of an instruction are those of plait.hwgen.sparse_dsp.program.

package plait_sd_machine_pkg;

  // ---- Queues: the order of plait.sim.compiler.instruction.Queue -------------------------------
  localparam int unsigned NUM_QUEUES = 6;
  localparam int unsigned QUEUE_LD = 0;
  localparam int unsigned QUEUE_ST = 1;
  localparam int unsigned QUEUE_MM = 2;
  localparam int unsigned QUEUE_MV = 3;
  localparam int unsigned QUEUE_MISC = 4;
  localparam int unsigned QUEUE_SYS = 5;

  localparam int unsigned MAX_WORDS = 7;  // of 32 bits, of an instruction
  localparam int unsigned WORD_BITS = 32;

  // ---- Instructions without opcode and masks, as packed words, the last word highest ------------
  typedef struct packed {
    logic [5:0]  unused_high;
    logic        zero_fill;
    logic [1:0]  memory;
    logic [22:0] length;  // bytes of a row
    logic [7:0]  loops_3d;
    logic [7:0]  loops_2d;
    logic [7:0]  loops_1d;
    logic [33:0] address;
    logic [33:0] stride_3d;
    logic [33:0] stride_2d;
    logic [33:0] stride_1d;
    logic [13:0] head;
    logic [2:0]  mode;
    logic [2:0]  channel;
    logic [11:0] bank_address;
  } load_t;

  typedef struct packed {
    logic [1:0]  unused_high;
    logic [1:0]  memory;
    logic [2:0]  channel;
    logic [22:0] length;
    logic [33:0] address;
    logic [13:0] head;
    logic [11:0] bank_address;
    logic [4:0]  loops_1d;
    logic        by_column;
  } store_t;

  typedef struct packed {
    logic [17:0] unused_high;
    logic [1:0]  weight_format;
    logic [11:0] out_address;
    logic [3:0]  unused_middle;
    logic [11:0] a_address;
    logic [11:0] b_address;
    logic [11:0] bias_address;  // bits 7:0 end word 1, bits 11:8 begin word 2
    logic [11:0] meta_address;
    logic [11:0] fsb_address;
    logic [13:0] head;
    logic [13:0] k_blocks;
    logic        output_last;
    logic        bias;
    logic        relu;
    logic        sparse;
  } multiply_t;

  typedef struct packed {
    logic [13:0] k_blocks;
    logic [5:0]  unused_middle;
    logic [11:0] constants;
    logic [11:0] b_address;
    logic [11:0] out_address;
    logic [7:0]  unused_low;
    logic [13:0] head;
    logic [11:0] a_address;
    logic [1:0]  mask;
    logic [3:0]  operation;
  } misc_t;

  // ---- Buffers that an LD fills: field mode ----------------------------------------------------
  localparam logic [2:0] LOAD_B = 3'd0;
  localparam logic [2:0] LOAD_META = 3'd1;
  localparam logic [2:0] LOAD_BIAS = 3'd2;
  localparam logic [2:0] LOAD_FSB = 3'd3;
  localparam logic [2:0] LOAD_A = 3'd4;
  localparam logic [2:0] LOAD_GLOBAL = 3'd5;

  // ---- The DSP array ----------------------------------------------------------------------------
  localparam int unsigned DOT_LATENCY = 15;  // of plait_sd_dot_array: operands to accumulators

  // ---- Special functions: field operation ------------------------------------------------------
  localparam int unsigned LANES = 16;         // elements of a block, and of a cycle
  localparam int unsigned ELEMENT_BITS = 16;
  localparam int unsigned BLOCK_BITS = LANES * ELEMENT_BITS;

  localparam logic [3:0] OPERATION_ADD = 4'd0;
  localparam logic [3:0] OPERATION_MUL = 4'd1;
  localparam logic [3:0] OPERATION_SOFTMAX = 4'd2;
  localparam logic [3:0] OPERATION_RMS_NORM = 4'd4;
  localparam logic [3:0] OPERATION_SILU = 4'd5;
  localparam logic [3:0] OPERATION_GELU = 4'd6;

  // What a MISC finds in its bias entry.
  typedef struct packed {
    logic [15:0] multiplier_a;
    logic [15:0] multiplier_b;
    logic [5:0]  input_shift;
    logic [5:0]  output_shift;
    logic        is_int8;     // of the results; else 16 bits
    logic [4:0]  last_lanes;  // elements of the last block, 1 to 16
    logic [4:0]  fraction;    // of softmax's results
    logic [31:0] epsilon;     // of the norm
  } special_constants_t;

  // ---- The run ---------------------------------------------------------------------------------
  typedef enum logic [2:0] {
    ControlIdle,
    ControlHeader,   // ask for the header of a segment
    ControlReceive,  // and receive it
    ControlLoad,     // ask for the segment's words
    ControlFill,     // and receive them
    ControlRun       // until every queue is empty
  } state_e;

  // Every busy cycle has one cause, the first that applies.
  localparam int unsigned NUM_COUNTERS = 6;
  typedef enum logic [2:0] {
    CauseFetch,    // a segment of the program is on its way
    CauseCompute,  // the DSP chains work
    CauseSpecial,  // only special functions, or they and memory
    CauseLoad,     // only memory is read, or read and written
    CauseStore,    // only memory is written
    CauseSchedule  // between instructions
  } cause_e;

  localparam int unsigned ERROR_PROGRAM = 0;    // a segment's header or an opcode is wrong
  localparam int unsigned ERROR_OPERATION = 1;  // a MISC operation or LD target there is not
  localparam int unsigned NUM_ERRORS = 2;

  localparam logic [31:0] SEGMENT_MAGIC = 32'h31445350;  // "PSD1"

endpackage
