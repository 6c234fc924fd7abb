// SPDX-License-Identifier: Apache-2.0
//
// plait_assert: the assertions of the library, in one place; nothing of them is left in synthesis.
// Clock and reset are the clk_i and rst_ni of the module that uses them.

`ifndef PLAIT_ASSERT_SVH
`define PLAIT_ASSERT_SVH

`ifdef SYNTHESIS

`define PLAIT_ASSERT(Name, Property)
`define PLAIT_ASSERT_STREAM(Name, Valid, Ready, Data)

`else

// Property holds at every clock edge outside reset. (A simulator that starts from a random state may
// see an edge at time 0, before anybody drives the reset.)
`define PLAIT_ASSERT(Name, Property) \
  Name: assert property (@(posedge clk_i) disable iff (!rst_ni || $time == 0) Property);

// An item that waits neither disappears nor changes. For the module that drives the stream.
`define PLAIT_ASSERT_STREAM(Name, Valid, Ready, Data) \
  Name: assert property (@(posedge clk_i) disable iff (!rst_ni || $time == 0) \
    (Valid) && !(Ready) |=> (Valid) && $stable(Data));

`endif
`endif
