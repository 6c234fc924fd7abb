"""When each instruction of a program runs: six in-order queues that wait for each other's tokens.

An instruction starts when its queue is free and a token of each queue it waits for is there; at its
end it gives a token to each queue it releases. Tokens of an ordered pair of queues are taken in the
order in which they were given. So the times are the same whatever the order of equal events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.compiler.instruction import Program, Queue

__all__ = ["Timeline", "exposed", "run"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """When the instructions of a program run, in the unit of their durations.

    Attributes:
        program: what ran.
        starts, ends: [instructions].
    """

    program: Program
    starts: Floats
    ends: Floats

    @property
    def total(self) -> float:
        """The end of the last instruction."""
        return float(self.ends.max(initial=0.0))

    def busy(self) -> dict[str, float]:
        """Add up the durations a queue."""
        sums = np.bincount(
            self.program["queue"], weights=self.ends - self.starts, minlength=len(Queue)
        )
        return {queue.name.lower(): float(sums[queue]) for queue in Queue}

    def utilisation(self) -> dict[str, float]:
        """Part of the whole time that a queue works."""
        total = self.total
        return {name: busy / total if total else 0.0 for name, busy in self.busy().items()}


def run(program: Program, durations: Floats, issue: float = 0.0) -> Timeline:
    """Run a program to its end.

    Args:
        program: verified (`Program.verify`) or made by the compiler.
        durations: of every instruction [instructions], in any one unit.
        issue: time that each instruction holds its queue before it works.

    Raises:
        SpecError: the program stops (names the first instruction that never starts) or leaves a
            token over (names the instruction that gave it).
    """
    from plait.sim.timeline._kernel import simulate

    program.verify()
    durations = np.ascontiguousarray(durations, dtype=np.float64)
    if durations.shape != (len(program),) or not (np.isfinite(durations) & (durations >= 0)).all():
        raise SpecError(
            "not one time of 0 or more an instruction", where="durations", got=durations.shape,
            expected=f"({len(program)},)",
        )  # fmt: skip
    starts, ends, _, given, taken = simulate(
        np.ascontiguousarray(program["queue"]),
        np.ascontiguousarray(program["wait"]),
        np.ascontiguousarray(program["release"]),
        durations,
        float(issue),
    )
    if (ends < 0).any():
        raise _stopped(program, ends, given, taken)
    if (given > taken).any():
        raise _left_over(program, given, taken)
    return Timeline(program, starts, ends)


def _stopped(program: Program, ends: Floats, given: Any, taken: Any) -> SpecError:
    """The first instruction that never starts and heads its queue, and what it waits for."""
    index = int(np.argmax(ends < 0))
    queue = int(program["queue"][index])
    wait = int(program["wait"][index])
    lacking = [
        giver.name
        for giver in Queue
        if wait >> giver & 1 and taken[giver * 6 + queue] >= given[giver * 6 + queue]
    ]
    stopped = [q for q in Queue if ((ends < 0) & (program["queue"] == q)).any()]
    cure = (
        "no instruction left gives it" if not _given_later(program, ends, lacking, queue)
        else "deadlock of " + ", ".join(q.name for q in stopped)
    )  # fmt: skip
    return SpecError(
        "waits for ever for a token of " + " and ".join(lacking), where=program.place(index),
        hint=cure,
    )  # fmt: skip


def _given_later(program: Program, ends: Floats, lacking: list[str], queue: int) -> bool:
    """Whether instructions that did not run would give what is lacking."""
    never = ends < 0
    gives = (program["release"].astype(np.int64) >> queue & 1) == 1
    return all((never & gives & (program["queue"] == Queue[name])).any() for name in lacking)


def _left_over(program: Program, given: Any, taken: Any) -> SpecError:
    pair = int(np.argmax(given > taken))
    giver, taker = Queue(pair // len(Queue)), Queue(pair % len(Queue))
    gives = (program["release"].astype(np.int64) >> int(taker) & 1) == 1
    index = int(np.flatnonzero(gives & (program["queue"] == giver))[taken[pair]])
    return SpecError(
        f"gives a token to {taker.name} that is never taken", where=program.place(index),
        hint=f"{given[pair]} given, {taken[pair]} taken",
    )  # fmt: skip


def exposed(timeline: Timeline, classes: Sequence[Sequence[Queue]]) -> Floats:
    """Split the whole time: for each class the time when it works and none before it does.

    Args:
        classes: sets of queues, the most important first.

    Returns:
        Times [classes + 1]; the last is when none of them works. They add up to the total.
    """
    starts, ends, queues = timeline.starts, timeline.ends, timeline.program["queue"]
    covered, sums = 0.0, []
    chosen = np.zeros(len(queues), dtype=bool)
    for group in classes:
        chosen |= np.isin(queues, group)
        union = _union(starts[chosen], ends[chosen])
        sums.append(union - covered)
        covered = union
    return np.array([*sums, timeline.total - covered])


def _union(starts: Floats, ends: Floats) -> float:
    """Length of the union of intervals."""
    if not len(starts):
        return 0.0
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    before = np.concatenate([[0.0], reach[:-1]])
    return float(np.maximum(reach - np.maximum(starts, before), 0.0).sum())
