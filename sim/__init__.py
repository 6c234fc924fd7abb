"""Time: machine descriptions, cost models and reports.

Takes a Workload and an Accelerator, gives a Report of cycles, bytes and energy. Next: plait.hwgen.
"""

if __name__ != "plait.sim":  # a second import name would make a second copy of every module
    raise ImportError("import plait.sim, not sim: the folder at the top is reached through plait")
