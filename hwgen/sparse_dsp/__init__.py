"""The sparse DSP family's part of the generator.

Takes the compiler's Program, gives its binary (and the way back), the image of the machine's memory
and its Verilog. Next: plait.hwgen.native runs them.
"""
