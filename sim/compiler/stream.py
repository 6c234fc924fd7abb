"""Stream: collects the instructions of one unit, a line of Python an instruction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.sim.compiler.instruction import (
    LoadTarget,
    MiscOperation,
    Path,
    Program,
    Queue,
)
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["Queues", "Stream", "mask"]

Queues = Iterable[Queue]


def mask(queues: Queues) -> int:
    """Give the mask of some queues.

    >>> mask([Queue.LD, Queue.MV])
    9
    """
    bits = 0
    for queue in queues:
        bits |= 1 << queue
    return bits


class Stream:
    """Instructions in program order; masks may still be widened until `program` is called."""

    def __init__(self, passes: int = 8, lanes: int = 16) -> None:
        self.rows: list[dict[str, Any]] = []
        self.passes = passes
        self.block_cycles = BLOCK / lanes

    def add(self, queue: Queue, wait: Queues = (), release: Queues = (), **fields: Any) -> None:
        """Append any instruction."""
        row = {"queue": queue, "wait": mask(wait), "release": mask(release), **fields}
        self.rows.append(row)

    def ld(
        self,
        size_bytes: float,
        path: Path,
        wait: Queues = (),
        release: Queues = (),
        ratio: float = 1.0,
        mode: LoadTarget = LoadTarget.A,
        **fields: Any,
    ) -> None:
        """Load bytes that take 1 / ratio of their time."""
        fields.setdefault("length", round(size_bytes))
        work = size_bytes / ratio
        self.add(Queue.LD, wait, release, work=work, path=path, mode=mode, **fields)

    def st(
        self, size_bytes: float, path: Path, wait: Queues = (), release: Queues = (), **fields: Any
    ) -> None:
        """Store bytes."""
        fields.setdefault("length", round(size_bytes))
        self.add(Queue.ST, wait, release, work=size_bytes, path=path, **fields)

    def multiply(
        self,
        queue: Queue,
        k_blocks: int,
        density: float,
        wait: Queues = (),
        release: Queues = (),
        **fields: Any,
    ) -> None:
        """MM or MV over some K blocks."""
        work = self.passes * k_blocks * density
        sparse = int(density < 1)
        self.add(queue, wait, release, work=work, k_blocks=k_blocks, sparse=sparse, **fields)

    def misc(
        self,
        operation: MiscOperation,
        k_blocks: int,
        wait: Queues = (),
        release: Queues = (),
        passes: int = 1,
        **fields: Any,
    ) -> None:
        """Go over some blocks, once or twice."""
        work = passes * k_blocks * self.block_cycles
        fields |= {"k_blocks": k_blocks, "operation": operation}
        self.add(Queue.MISC, wait, release, work=work, **fields)

    def widen(self, index: int, wait: Queues = (), release: Queues = ()) -> None:
        """Add queues to the masks of an instruction that is already there."""
        self.rows[index]["wait"] |= mask(wait)
        self.rows[index]["release"] |= mask(release)

    def __len__(self) -> int:
        """Return the number of instructions so far."""
        return len(self.rows)

    def program(self) -> Program:
        """Give what was collected."""
        return Program.of_columns(self.rows)
