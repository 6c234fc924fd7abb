"""Cycles of the small sparse DSP machine as Verilog: what every instruction takes, to the cycle.

The machine of rtl/sparse_dsp loads a segment of its program, hands the instructions to six queues
and runs them; each queue works on one instruction at a time, except LD, which asks for the words of
the next while those of the last are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name
from plait.sim.compiler.instruction import MiscOperation, Program, Queue
from plait.sim.families.bit_serial_schedule import Memory

__all__ = ["DOT_LATENCY", "Schedule", "misc_cycles", "multiply_cycles", "schedule"]

WORD_BYTES = 32
_ELEMENTWISE = 9  # constants, buffer, six stages of a lane, the write
_RECIPROCAL = 34
_ROOT = 16
_SUM_STAGES = {MiscOperation.SOFTMAX: 4, MiscOperation.RMS_NORM: 2}
_ONE_PASS = (MiscOperation.ADD, MiscOperation.MUL, MiscOperation.SILU, MiscOperation.GELU)
DOT_LATENCY = 15  # of plait_sd_dot_array: operands to accumulators
_OUTPUT_STAGES = 2  # bias, multiplier
_ROW_CYCLES = 4  # four outputs a cycle
_SIZES = np.array([7, 3, 4, 4, 3, 1])  # 32-bit words of an instruction, by queue
_TOKENS = 256  # of a pair of queues, given and not taken


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


@dataclass(frozen=True)
class Schedule:
    """When a program runs, in cycles; cycle 0 is that of the start.

    Attributes:
        cycles: until the last queue is empty.
        fetch_cycles: of them, until the segments of the program were there.
        starts, ends: first and last cycle of every instruction, int64 [instructions].
    """

    cycles: int
    fetch_cycles: int
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def schedule(
    segments: Sequence[Program],
    segment_words: Sequence[int],
    queue_depth: int,
    memory: Memory | None = None,
) -> Schedule:
    """Run the segments of a program one after another.

    Args:
        segments: instructions whose ``work`` is, for MM, MV and MISC, their cycles.
        segment_words: port words of each segment.
        queue_depth: instructions that a queue holds.
        memory: latency and stalls; by default it never stalls.
    """
    from plait.sim.families._sparse_dsp_recurrence import run_segment

    memory = memory or Memory()
    answers = memory.latency, memory.threshold, memory.seed
    port = np.array([0, 0, -2, -2], np.int64)
    taken = np.zeros(512, np.int64)
    tokens = np.zeros((len(Queue), len(Queue), 2 + _TOKENS), np.int64)
    begin, fetch, times = 1, 0, []
    for program, words in zip(segments, segment_words, strict=True):
        rows = _instructions(program)
        when = np.zeros((len(rows), 2), np.int64)
        running, end = run_segment(
            begin, words, rows, answers, queue_depth, port, taken, tokens, when
        )
        fetch += running - begin
        begin = end + 1
        times.append(when)
    whole = np.concatenate(times)
    return Schedule(begin - 1, fetch, whole[:, 0], whole[:, 1])


def _instructions(program: Program) -> NDArray[np.int64]:
    """What the recurrence needs of each instruction."""
    queues = program["queue"].astype(np.int64)
    moves = (queues == Queue.LD) | (queues == Queue.ST)
    work = np.where(moves, program["length"].astype(np.int64) // WORD_BYTES, program["work"])
    work = np.where(queues == Queue.SYS, 1, work)
    loops = [
        np.maximum(program[f"loops_{axis}"].astype(np.int64), 1) for axis in ("1d", "2d", "3d")
    ]
    rows = np.where(queues == Queue.LD, loops[0] * loops[1] * loops[2], 1)
    columns = (queues, program["wait"], program["release"], _SIZES[queues], work, rows)
    return np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
