// Compile order of the attention unit's device, leaves first.
common/plait_skid.sv
common/plait_fifo.sv
common/plait_adder_tree.sv
bit_serial/plait_bs_reader.sv
bit_serial/plait_bs_writer.sv
attention/plait_at_pkg.sv
attention/plait_at_machine_pkg.sv
attention/plait_at_dot.sv
attention/plait_at_score.sv
attention/plait_at_exp2.sv
attention/plait_at_accumulate.sv
attention/plait_at_combine.sv
attention/plait_at_address.sv
attention/plait_at_unpack.sv
attention/plait_at_unit.sv
attention/plait_at_device.sv
