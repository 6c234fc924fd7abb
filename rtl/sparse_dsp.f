// Compile order of the sparse DSP machine, relative to rtl/: packages, then leaves, then what holds
// them. Needs +incdir+common, and lint/waivers.vlt in front for Verilator.
sparse_dsp/plait_sd_machine_pkg.sv
sparse_dsp/plait_sd_tables_pkg.sv
common/plait_delay.sv
common/plait_fifo.sv
common/plait_ram_1r1w.sv
common/plait_skid.sv
bit_serial/plait_bs_reader.sv
sparse_dsp/plait_sd_round.sv
sparse_dsp/plait_sd_reciprocal.sv
sparse_dsp/plait_sd_special_lane.sv
sparse_dsp/plait_sd_special.sv
sparse_dsp/plait_sd_weights.sv
sparse_dsp/plait_sd_dsp.sv
sparse_dsp/plait_sd_mux.sv
sparse_dsp/plait_sd_reduce.sv
sparse_dsp/plait_sd_group.sv
sparse_dsp/plait_sd_chain.sv
sparse_dsp/plait_sd_dot_array.sv
sparse_dsp/plait_sd_multiply.sv
sparse_dsp/plait_sd_global_buffer.sv
sparse_dsp/plait_sd_load.sv
sparse_dsp/plait_sd_store.sv
sparse_dsp/plait_sd_fetch.sv
sparse_dsp/plait_sd_scheduler.sv
sparse_dsp/plait_sd_core.sv
