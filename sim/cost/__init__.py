"""Physical costs, one a file: takes arrays of sizes, gives arrays of energy, area and cycles.

Next: plait.sim.families adds them up for a machine.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["dram", "energy", "link", "price", "speculation", "sram"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"plait.sim.cost.{name}")
    raise AttributeError(f"module 'plait.sim.cost' has no attribute {name!r}")
