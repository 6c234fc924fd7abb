// SPDX-License-Identifier: Apache-2.0
//
// plait_bs_machine_pkg: types of the machine around the array: sequencer states, causes of cycles,
// descriptors. Addresses count words of the memory port; addresses and counts have 32 bits.

package plait_bs_machine_pkg;

  // Every busy cycle has one cause; plait.sim.families.bit_serial_schedule.CAUSES in this order.
  localparam int unsigned NUM_COUNTERS = 9;
  typedef enum logic [3:0] {
    CauseDescriptor,           // fetch and check
    CauseActivationLoad,       // activations of a token tile on their way
    CausePipelineFill,         // then: its first step of weights on its way
    CauseCompute,              // a term goes into the array
    CauseMemoryStall,          // no step of weights there
    CauseDequantisationStall,  // the dequantiser still has the group before
    CauseOutputStall,          // the output register still holds the tile before
    CauseDequantisationTail,   // last term of the descriptor to its last results
    CauseDrain                 // and until they are written
  } cause_e;

  typedef enum logic [2:0] {
    SequencerIdle,
    SequencerFetch,       // ask for a descriptor
    SequencerDescriptor,  // receive it
    SequencerCheck,       // refuse it or begin
    SequencerLoad,        // ask for the activations of a token tile
    SequencerStream,      // ask for the weights of all its output tiles
    SequencerRun,         // compute
    SequencerFlush        // write the last results
  } state_e;

  localparam int unsigned ERROR_NON_FINITE = 0;   // an activation is infinite or no number
  localparam int unsigned ERROR_DESCRIPTOR = 1;   // a descriptor was refused, the run ended there
  localparam int unsigned NUM_ERRORS = 2;

  localparam int unsigned MAX_INPUTS = 65536;  // to which the integer accumulators are exact

  // A descriptor is the low 256 bits of two words of memory.
  localparam int unsigned DESCRIPTOR_BITS = 256;
  localparam int unsigned DESCRIPTOR_WORDS = 2;
  localparam logic [7:0] DESCRIPTOR_MAGIC = 8'h50;

  typedef struct packed {
    logic [31:0] group_size;
    logic [31:0] inputs;
    logic [31:0] outputs;
    logic [31:0] tokens;
    logic [31:0] result_address;
    logic [31:0] activation_address;
    logic [31:0] weight_address;
    logic [7:0]  magic;
    logic [14:0] reserved_high;
    logic        activation_int8;
    logic [3:0]  format_index;
    logic [2:0]  reserved_low;
    logic        last;  // no descriptor follows
  } descriptor_task_t;

  typedef struct packed {
    logic [31:0] result_words;      // of a tile
    logic [31:0] weight_words;      // of the whole matrix
    logic [31:0] activation_words;  // of a token tile
    logic [31:0] last_group_steps;
    logic [31:0] steps_per_group;
    logic [31:0] groups;
    logic [31:0] output_tiles;
    logic [31:0] token_tiles;
  } descriptor_counts_t;

  // What the rest of the machine needs of a descriptor.
  typedef struct packed {
    logic [3:0]  format_index;
    logic        is_int8;  // activations
    logic [31:0] result_address;
    logic [31:0] output_tiles;
    logic [31:0] groups;
    logic [31:0] steps_per_group;
    logic [31:0] last_group_steps;
  } matmul_t;

endpackage
