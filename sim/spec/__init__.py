"""Machine descriptions: takes a preset name or a YAML file, gives a checked Accelerator.

Next: plait.sim.families costs a Workload on it, and plait.hwgen writes its Verilog.

>>> from plait.sim.spec import load_accelerator
>>> machine = load_accelerator("bitmod-lossy")
>>> machine.array.decode.rows
64
>>> machine.with_(**{"array.decode.rows": 128}).array.decode.rows
128
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Accelerator": "base",
    "BitSerial": "bit_serial",
    "Offload": "offload",
    "Roofline": "roofline",
    "SparseDsp": "sparse_dsp",
    "Systolic": "systolic",
    "accelerator_names": "load",
    "load_accelerator": "load",
    "parse_accelerator": "load",
    "read_yaml": "yaml_file",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.spec.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.spec' has no attribute {name!r}")
