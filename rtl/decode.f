// Compile order of the decode units, leaves first.
common/plait_adder_tree.sv
common/plait_ram_1r1w.sv
decode/plait_du_sum.sv
decode/plait_du_trit_tree.sv
decode/plait_du_expander.sv
decode/plait_du_expander_dot.sv
decode/plait_du_lookup_table.sv
decode/plait_du_codebook.sv
