"""Programs in time: takes a Program and the duration of each instruction, gives when each runs.

Next: plait.sim.families.sparse_dsp sums it up; `trace` writes it for a trace viewer.

>>> import numpy as np
>>> from plait.sim.compiler import Instruction, Program, Queue
>>> from plait.sim.timeline import run
>>> load = Instruction(Queue.LD, release=1 << Queue.MV)
>>> product = Instruction(Queue.MV, wait=1 << Queue.LD)
>>> run(Program.of([load, product]), np.array([3.0, 4.0])).total
7.0
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Timeline": "engine",
    "exposed": "engine",
    "run": "engine",
    "Span": "trace",
    "write_trace": "trace",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.timeline.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.timeline' has no attribute {name!r}")
