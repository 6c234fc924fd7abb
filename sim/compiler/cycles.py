"""What an instruction of the Verilog core takes, in cycles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name
from plait.sim.compiler.instruction import MiscOperation

__all__ = ["DOT_LATENCY", "misc_cycles", "multiply_cycles"]

_ELEMENTWISE = 9  # constants, buffer, six stages of a lane, the write
_RECIPROCAL = 34
_ROOT = 16
_SUM_STAGES = {MiscOperation.SOFTMAX: 4, MiscOperation.RMS_NORM: 2}
_ONE_PASS = (MiscOperation.ADD, MiscOperation.MUL, MiscOperation.SILU, MiscOperation.GELU)
DOT_LATENCY = 15  # of plait_sd_dot_array: operands to accumulators
_OUTPUT_STAGES = 2  # bias, multiplier
_ROW_CYCLES = 4  # four outputs a cycle


def misc_cycles(operation: int, blocks: int) -> int:
    """Cycles of a MISC instruction, from its start to its last write.

    >>> misc_cycles(MiscOperation.ADD, 36)
    45
    """
    if operation in _ONE_PASS:
        return blocks + _ELEMENTWISE
    if operation not in _SUM_STAGES:
        known = [one.name for one in (*_ONE_PASS, *_SUM_STAGES)]
        raise SpecError(unknown_name("special function of the Verilog", str(operation), known))
    stages = _SUM_STAGES[MiscOperation(operation)]
    root = _ROOT if operation == MiscOperation.RMS_NORM else 0
    return 2 * blocks + _ELEMENTWISE + stages + _RECIPROCAL + root + 1


def multiply_cycles(kept: NDArray[np.int64], output: bool, rows: int) -> int:
    """Cycles of an MM or MV instruction, from its start to its last write.

    Args:
        kept: weights of 16 that each K block keeps; a block of none takes a cycle.
        output: whether it closes the sum.
        rows: of the results: 1 in MV.
    """
    cycles = 1 + int(np.maximum(kept // 2, 1).sum())
    return cycles + (DOT_LATENCY + _OUTPUT_STAGES + _ROW_CYCLES * rows if output else 0)
