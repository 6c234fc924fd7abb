// Compile order of the PEs that the bit-serial one is compared with, relative to rtl/.
bit_serial/plait_bs_pkg.sv
common/plait_adder_tree.sv
bit_serial/plait_bs_activation.sv
bit_serial/plait_bs_align.sv
bit_serial/plait_bs_add_aligned.sv
bit_serial/plait_bs_dot.sv
bit_serial/plait_fp16_mac.sv
bit_serial/plait_small_weight_pe.sv
bit_serial/plait_ant_pe.sv
bit_serial/plait_olive_pe.sv
