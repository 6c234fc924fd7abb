"""The bit-serial family's part of the generator.

Takes QuantizedTensors and activations, gives descriptors and memory images (and the way back).
Next: plait.hwgen.native runs them on the Verilog.
"""
