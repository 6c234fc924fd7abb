"""The attention unit of a memory device as Verilog.

Takes an Offload description, gives its parameters, package, memory image and answers. Next:
``plait.hwgen.generate``.
"""
