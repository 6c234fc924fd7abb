"""Values: formats, quantisers, real LLMs, graphs and golden models.

Takes a PyTorch module, gives quantised weights, a Graph and a Workload. Next: plait.sim (time) and
plait.hwgen (gates).
"""

if __name__ != "plait.models":  # a second import name would make a second copy of every module
    raise ImportError(
        "import plait.models, not models: the folder at the top is reached through plait"
    )
