"""Gates: the generator of Verilog, memory images and file lists.

Takes an Accelerator and QuantizedTensors, gives a folder of Verilog around the library in rtl/.
"""

if __name__ != "plait.hwgen":  # a second import name would make a second copy of every module
    raise ImportError(
        "import plait.hwgen, not hwgen: the folder at the top is reached through plait"
    )
