// SPDX-License-Identifier: Apache-2.0
//
// plait_at_machine_pkg: types of the memory device around the attention unit: states, causes of
// cycles, the descriptor. Addresses count words of the memory port.

package plait_at_machine_pkg;

  // Every busy cycle has one cause; plait.sim.families.attention_cycles.CAUSES in this order.
  localparam int unsigned NUM_COUNTERS = 7;
  typedef enum logic [2:0] {
    CauseDescriptor,   // fetch and check
    CauseLoad,         // queries and segments on their way
    CauseFill,         // the first key on its way
    CauseCompute,      // a step of a key goes into the dot products
    CauseMemoryStall,  // no key there
    CauseTail,         // last step of the last key until the last value is in the accumulators
    CauseDrain         // partial results on their way
  } cause_e;

  typedef enum logic [3:0] {
    DeviceIdle,
    DeviceFetch,       // ask for a descriptor
    DeviceDescriptor,  // receive it
    DeviceCheck,       // refuse it or begin
    DeviceAsk,         // ask for queries and segments
    DeviceLoad,        // receive them
    DeviceBegin,       // start the addresses
    DeviceRun,         // tokens
    DeviceJudge,       // does the unified maximum suit?
    DeviceDrain,       // partial results out
    DeviceFlush        // until they are written
  } state_e;

  localparam int unsigned ERROR_DESCRIPTOR = 0;  // a descriptor was refused, the run ended there
  localparam int unsigned ERROR_SCALE = 1;       // a scale does not suit the unit of the accumulators
  localparam int unsigned NUM_ERRORS = 2;

  // A descriptor is the low 256 bits of a word; queries and segments follow it.
  localparam int unsigned DESCRIPTOR_BITS = 256;
  localparam logic [7:0] DESCRIPTOR_MAGIC = 8'h41;
  typedef struct packed {
    logic [31:0] load_words;      // of score shifts, queries and segments
    logic [31:0] maximum;         // the unified one, two's complement
    logic [31:0] result_address;
    logic [31:0] scale_address;   // of token 0
    logic [31:0] cache_address;   // of token 0
    logic [31:0] segments;
    logic [31:0] tokens;          // of all segments
    logic [7:0]  magic;
    logic [9:0]  reserved_high;
    logic [5:0]  value_shift;
    logic [5:0]  reserved_low;
    logic        is_unified;
    logic        last;            // no descriptor follows
  } descriptor_t;

endpackage
