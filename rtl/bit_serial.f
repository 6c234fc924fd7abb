// Compile order of plait_bs_core, relative to rtl/: packages, then leaves, then what holds them.
// Needs +incdir+common, and lint/waivers.vlt in front for Verilator.
bit_serial/plait_bs_pkg.sv
bit_serial/plait_bs_machine_pkg.sv
common/plait_adder_tree.sv
common/plait_ram_1r1w.sv
common/plait_skid.sv
bit_serial/plait_bs_term_decoder.sv
bit_serial/plait_bs_activation.sv
bit_serial/plait_bs_align.sv
bit_serial/plait_bs_add_aligned.sv
bit_serial/plait_bs_dot.sv
bit_serial/plait_bs_pe.sv
bit_serial/plait_bs_dequant.sv
bit_serial/plait_bs_row.sv
bit_serial/plait_bs_array.sv
bit_serial/plait_bs_scale.sv
bit_serial/plait_bs_banked_fifo.sv
bit_serial/plait_bs_transpose.sv
bit_serial/plait_bs_activation_buffer.sv
bit_serial/plait_bs_weight_buffer.sv
bit_serial/plait_bs_issue.sv
bit_serial/plait_bs_reader.sv
bit_serial/plait_bs_writer.sv
bit_serial/plait_bs_output.sv
bit_serial/plait_bs_counters.sv
bit_serial/plait_bs_sequencer.sv
bit_serial/plait_bs_core.sv
