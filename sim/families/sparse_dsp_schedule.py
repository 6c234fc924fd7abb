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

from plait.sim.compiler.core import WORD_BYTES
from plait.sim.compiler.instruction import INSTRUCTION_WORDS, Program, Queue
from plait.sim.families.memory_port import Memory, checked

__all__ = ["Schedule", "schedule"]

_SIZES = np.array([INSTRUCTION_WORDS[queue] for queue in Queue])
_TOKENS = 256  # of a pair of queues, given and not taken


@dataclass(frozen=True)
class Schedule:
    """When a program runs, in cycles; cycle 0 is that of the start.

    Attributes:
        cycles: until the last queue is empty.
        begins, running: first cycle of every segment, and of its instructions, int64 [segments].
        starts, ends: first and last cycle of every instruction, int64 [instructions].
    """

    cycles: int
    begins: NDArray[np.int64]
    running: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def fetch_cycles(self) -> int:
        """Until the segments of the program were there, all together."""
        return int((self.running - self.begins).sum())


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
    from plait.sim.families._sparse_dsp_recurrence import KEPT_WORDS, run_segment

    memory = checked(memory)
    answers = memory.latency, memory.threshold, memory.seed
    port = np.array([0, 0, -2, -2], np.int64)
    taken = np.zeros(KEPT_WORDS, np.int64)
    tokens = np.zeros((len(Queue), len(Queue), 2 + _TOKENS), np.int64)
    begin, times, marks = 1, [], []
    for program, words in zip(segments, segment_words, strict=True):
        rows = _instructions(program)
        when = np.zeros((len(rows), 2), np.int64)
        running, end = run_segment(
            begin, words, rows, answers, queue_depth, port, taken, tokens, when
        )
        marks.append((begin, running))
        begin = end + 1
        times.append(when)
    whole, segments_at = np.concatenate(times), np.array(marks, np.int64)
    return Schedule(begin - 1, segments_at[:, 0], segments_at[:, 1], whole[:, 0], whole[:, 1])


def _instructions(program: Program) -> NDArray[np.int64]:
    """What the recurrence needs of each instruction."""
    queues = program["queue"].astype(np.int64)
    moves = (queues == Queue.LD) | (queues == Queue.ST)
    work = np.where(moves, program["length"].astype(np.int64) // WORD_BYTES, program["work"])
    work = np.where(queues == Queue.SYS, 1, work)
    rows = program.loops("1d") * program.loops("2d") * program.loops("3d")
    columns = (queues, program["wait"], program["release"], _SIZES[queues], work, rows)
    return np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
