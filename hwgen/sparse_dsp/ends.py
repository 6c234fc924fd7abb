"""Whether a program runs to its end: tokens that meet, addresses that the machine has.

Takes the decoded segments of a program; the first thing that is wrong is one line that names the
instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from plait.errors import SpecError
from plait.sim.compiler.core import GLOBAL_REGION_BITS, WORD_BYTES
from plait.sim.compiler.instruction import FIELD_BITS, LoadTarget, Program, Queue
from plait.sim.timeline import run

__all__ = ["check_segments"]

_ENTRIES = {
    LoadTarget.B: "BEntries",
    LoadTarget.META: "MetaEntries",
    LoadTarget.BIAS: "BiasEntries",
    LoadTarget.FSB: "FsbEntries",
    LoadTarget.A: "ABankEntries",
    LoadTarget.GLOBAL: "GlobalEntries",
}
_ADDRESS_BITS = FIELD_BITS["address"][Queue.LD]


def check_segments(
    segments: Sequence[Program], memory_words: int, parameters: Mapping[str, int] | None = None
) -> None:
    """Refuse a program that would stop, leave a token over or reach beyond what there is.

    Args:
        segments: each runs when the one before has ended.
        memory_words: port words of the memory, from address 0.
        parameters: of the core, for the sizes of its buffers; unknown if none.
    """
    for number, program in enumerate(segments):
        try:
            _check_memory(program, memory_words)
            if parameters:
                _check_buffers(program, parameters)
            run(program, np.ones(len(program)))
        except SpecError as error:
            raise SpecError(str(error), where=f"segment {number}") from None


def _check_memory(program: Program, memory_words: int) -> None:
    """Off chip: the first and the last byte of all rows of an LD or ST."""
    moves = np.flatnonzero(np.isin(program["queue"], (Queue.LD, Queue.ST)))
    moves = moves[program["zero_fill"][moves] == 0]
    low = program["address"][moves].astype(np.int64)
    high = low + program["length"][moves].astype(np.int64)
    for axis in ("1d", "2d", "3d"):
        strides = program[f"stride_{axis}"][moves].astype(np.int64)
        strides -= np.where(strides >> (_ADDRESS_BITS - 1) & 1, 1 << _ADDRESS_BITS, 0)
        reach = strides * (program.loops(axis)[moves] - 1)
        low, high = low + np.minimum(reach, 0), high + np.maximum(reach, 0)
    size = memory_words * WORD_BYTES
    wrong = (low < 0) | (high > size)
    if wrong.any():
        at = int(np.argmax(wrong))
        got = int(high[at]) - 1 if low[at] >= 0 else int(low[at])
        raise SpecError(
            "address out of range", where=program.place(int(moves[at])), got=got,
            expected=f"0 to {size - 1}, bytes of the memory",
        )  # fmt: skip


def _check_buffers(program: Program, parameters: Mapping[str, int]) -> None:
    """On chip: the last entry that an LD fills or an ST reads."""
    for queue, mode, size in _buffers(parameters):
        chosen = program["queue"] == queue
        if mode is not None:
            chosen &= program["mode"] == mode
        indices = np.flatnonzero(chosen)
        words = program["length"][indices].astype(np.int64) // WORD_BYTES
        if queue == Queue.LD:
            for axis in ("1d", "2d", "3d"):
                words = words * program.loops(axis)[indices]
        first = program["bank_address"][indices].astype(np.int64)
        if queue == Queue.ST:
            first &= (1 << GLOBAL_REGION_BITS) - 1
        wrong = first + words > size
        if wrong.any():
            at = int(np.argmax(wrong))
            raise SpecError(
                "bank_address out of range", where=program.place(int(indices[at])),
                got=int(first[at] + words[at] - 1), expected=f"entries up to {size - 1}",
            )  # fmt: skip


def _buffers(parameters: Mapping[str, int]) -> list[tuple[Queue, LoadTarget | None, int]]:
    filled = [(Queue.LD, mode, parameters[name]) for mode, name in _ENTRIES.items()]
    return [*filled, (Queue.ST, None, parameters["GlobalEntries"])]
