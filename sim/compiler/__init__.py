"""The compiler of the sparse DSP machine: takes a Workload, gives instructions for six queues.

`lower` is for any machine of the family, `compile_step` for the one in Verilog. Next:
plait.sim.timeline runs the first in time, plait.hwgen.sparse_dsp links the second.

>>> from plait.sim.compiler import Instruction, Program, Queue
>>> program = Program.of([Instruction(Queue.LD, length=64), Instruction(Queue.SYS)])
>>> program.counts()["ld"]
1
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "FIELD_BITS": "instruction",
    "Instruction": "instruction",
    "LoadTarget": "instruction",
    "MemoryKind": "instruction",
    "MiscOperation": "instruction",
    "OPCODES": "instruction",
    "Path": "instruction",
    "Program": "instruction",
    "Queue": "instruction",
    "Section": "decode_step",
    "Unit": "unit",
    "UnitPlan": "plan",
    "check": "limits",
    "closed": "unit",
    "compile_step": "decode_step",
    "lower": "lowering",
    "plans": "own",
    "split_k": "split",
    "whole": "unit",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.compiler.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.compiler' has no attribute {name!r}")
