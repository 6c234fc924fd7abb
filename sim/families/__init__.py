"""Families of machines: takes a Workload and an Accelerator, gives a Breakdown of time by cause.

Each family is one module of array functions, registered in `plait.sim.families.base`.
Next: plait.sim.report, which turns a Breakdown into a Report.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = ("bit_serial", "offload", "roofline", "sparse_dsp", "systolic")
_HOME = {
    "Breakdown": "breakdown",
    "cost": "base",
    "family": "base",
    "family_names": "base",
    "fidelities": "base",
}

__all__ = [*_MODULES, *_HOME]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"plait.sim.families.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.families.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.families' has no attribute {name!r}")
