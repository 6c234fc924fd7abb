"""How far a sum over K is cut, and how many pieces may be loaded ahead."""

from __future__ import annotations

from dataclasses import dataclass

from plait.sim.compiler.instruction import Queue
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["Split", "split_k"]

# Entries that one K block takes of a buffer whose entries hold one byte a value.
_META_ENTRIES = 8
_B_ENTRIES = {Queue.MM: 8, Queue.MV: 16}  # in MV as the published split counts it


@dataclass(frozen=True, slots=True)
class Split:
    """Pieces of a sum over K.

    Attributes:
        pieces: K blocks of each piece, in order.
        depth: pieces that may be in the buffers at once.
    """

    pieces: tuple[int, ...]
    depth: int


def split_k(k_blocks: int, queue: Queue, machine: SparseDsp) -> Split:
    """Cut a sum as FlightLLM's instruction generator does: at least two pieces fit the buffers.

    >>> from plait.sim.spec import load_accelerator
    >>> split_k(688, Queue.MM, load_accelerator("flightllm-u280"))
    Split(pieces=(229, 229, 229, 1), depth=2)
    """
    b_entries, meta = machine.buffers.b_entries, machine.buffers.meta_entries
    parts = -(-_B_ENTRIES[queue] * k_blocks // max(b_entries // 2, 1))
    while True:
        unit = max(k_blocks // parts, 1)
        pieces = [unit] * (k_blocks // unit)
        if k_blocks % unit:
            pieces.append(k_blocks % unit)
        weights = _weight_depth(queue, max(pieces), machine)
        depth = min(weights, meta // (_META_ENTRIES * max(pieces)))
        if depth >= 2 or max(pieces) == 1:
            break
        parts += 1
    vector = b_entries // -(-k_blocks // len(pieces))
    return Split(tuple(pieces), max(1, min(depth, vector)))


def _weight_depth(queue: Queue, blocks: int, machine: SparseDsp) -> int:
    """Pieces of so many blocks that the buffer of the weights holds."""
    if queue == Queue.MM:
        return machine.buffers.b_entries // (_B_ENTRIES[Queue.MM] * blocks)
    entry = machine.core.mm_rows * 16 // machine.memory.channels
    entries = machine.core.mv_outputs * 16 // (machine.memory.channels * entry)
    return machine.buffers.a_entries // (max(entries, 1) * blocks)
