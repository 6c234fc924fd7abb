"""Golden models: pure functions of integer arrays that say bit for bit what the Verilog computes.

Takes codes, scales and activations, gives the hardware's results. Next: plait.hwgen compares the
Verilog with them; ``execute`` runs a whole LLM on them.
"""
