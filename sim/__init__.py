"""Time: machine descriptions, cost models and reports.

Takes a Workload and an Accelerator, gives a Report of cycles, bytes and energy. Next: plait.hwgen.

>>> from plait.sim import load_accelerator
>>> load_accelerator("bitmod-lossy").family
'bit_serial'
"""

from __future__ import annotations

import importlib
from typing import Any

if __name__ != "plait.sim":  # a second import name would make a second copy of every module
    raise ImportError("import plait.sim, not sim: the folder at the top is reached through plait")

_HOME = {
    "Accelerator": "spec",
    "Report": "report",
    "accelerator_names": "spec",
    "load_accelerator": "spec",
    "simulate": "run",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim' has no attribute {name!r}")
