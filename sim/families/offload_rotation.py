"""Rotational staggered pipelining: n batches on n - 1 model replicas and one memory pool.

Source: arXiv 2405.01814, section 4.3. A slice is one layer of one batch: ``model`` seconds on a
replica, half of ``network``, ``attention`` seconds on the pool, the other half. Slice k of batch j
runs on replica (j + k) mod (n - 1); replica r starts model/(n - 1) after replica r - 1. All times
may be floats, or `fractions.Fraction` for exact answers.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

__all__ = ["Job", "Rotation", "cycle", "replicas", "rotate"]


def replicas(batches: int) -> int:
    """Model replicas that ``batches`` batches in flight need."""
    return max(batches - 1, 1)


def cycle(batches: int, model: Any, attention: Any, network: Any = 0, early: Any = 0) -> Any:
    """Time of a layer in steady state: max(n tm/(n-1), n ta, tm + ta + tnet - early).

    Args:
        batches: n, in flight.
        model, attention, network: of one layer and batch.
        early: how long before the end of its model part the attention of a slice may start.

    >>> cycle(2, 1.0, 1.0), cycle(4, 1.5, 0.5), cycle(1, 1.0, 0.5, 0.25)
    (2.0, 2.0, 1.75)
    """
    alone = model + attention + network - early
    return max(batches * model / replicas(batches), batches * attention, alone)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work on one resource.

    Attributes:
        resource: a replica's number, or -1 for the pool.
        batch, slice: which batch, and which of its slices (token * layers + layer).
        start, end: times.
    """

    resource: int
    batch: int
    slice: int
    start: Any
    end: Any


@dataclass(frozen=True, slots=True)
class Rotation:
    """What `rotate` gives.

    Attributes:
        jobs: in order of their start.
        tokens: [batches][tokens] times at which a token of a batch is done.
        layers: slices a token.
    """

    jobs: tuple[Job, ...]
    tokens: tuple[tuple[Any, ...], ...]
    layers: int

    @property
    def makespan(self) -> Any:
        """When the last token is done."""
        return max(times[-1] for times in self.tokens)

    @property
    def time_between_tokens(self) -> Any:
        """Between the last two tokens of batch 0: the steady state, if it has been reached."""
        return self.tokens[0][-1] - self.tokens[0][-2]

    def on(self, resource: int) -> list[Job]:
        """Jobs of one resource, in order."""
        return [job for job in self.jobs if job.resource == resource]


POOL = -1


def rotate(
    batches: int,
    model: Any,
    attention: Any,
    network: Any = 0,
    *,
    layers: int,
    tokens: int,
    early: Any = 0,
) -> Rotation:
    """Play the pipeline, event by event.

    A resource serves one job at a time, first come first served, the lower batch of a tie first:
    serving always the lowest batch would starve the others where the pool is the bottleneck.

    >>> from fractions import Fraction
    >>> played = rotate(4, Fraction(3, 2), Fraction(1, 2), layers=8, tokens=6)
    >>> played.time_between_tokens == 8 * cycle(4, Fraction(3, 2), Fraction(1, 2))
    True
    """
    return _Player(batches, (model, attention, network, early), layers, tokens).play()


class _Player:
    """The events of one run: (time, priority, sequence) orders them, so that a run repeats."""

    def __init__(self, batches: int, times: tuple[Any, ...], layers: int, tokens: int) -> None:
        self.batches, self.layers, self.slices = batches, layers, layers * tokens
        self.model, self.attention, self.network, self.early = times
        self.events: list[tuple[Any, int, int, tuple[int, int, int]]] = []
        self.waiting: dict[int, list[tuple[Any, int, int]]] = defaultdict(list)
        self.free: dict[int, Any] = defaultdict(int)
        self.jobs: list[Job] = []
        self.done: list[list[Any]] = [[] for _ in range(batches)]
        self.sequence = 0

    def play(self) -> Rotation:
        for batch in range(self.batches):
            self._ready(batch * self.model / replicas(self.batches), self._replica(batch, 0), batch)
        while self.events:
            now = self.events[0][0]
            touched = {}
            while self.events and self.events[0][0] == now:  # all that happens now, then decide
                resource, batch, index = heapq.heappop(self.events)[3]
                touched[resource] = True
                if index >= 0:
                    heapq.heappush(self.waiting[resource], (now, batch, index))
            for resource in touched:
                self._serve(resource, now)
        tokens = tuple(tuple(times) for times in self.done)
        return Rotation(tuple(self.jobs), tokens, self.layers)

    def _replica(self, batch: int, index: int) -> int:
        return (batch + index) % replicas(self.batches)

    def _ready(self, time: Any, resource: int, batch: int, index: int = 0) -> None:
        """Let a job wait from ``time`` on; index -1 only wakes the resource."""
        self.sequence += 1
        heapq.heappush(self.events, (time, resource, self.sequence, (resource, batch, index)))

    def _serve(self, resource: int, now: Any) -> None:
        if not self.waiting[resource] or self.free[resource] > now:
            return
        _, batch, index = heapq.heappop(self.waiting[resource])
        end = now + (self.attention if resource == POOL else self.model)
        self.jobs.append(Job(resource, batch, index, now, end))
        self.free[resource] = end
        self._ready(end, resource, batch, -1)
        half = self.network / 2 if self.network else 0  # an int: 0.0 would make a Fraction a float
        if resource != POOL:
            self._ready(max(now, end + half - self.early), POOL, batch, index)
            return
        back = end + half
        if (index + 1) % self.layers == 0:
            self.done[batch].append(back)
        if index + 1 < self.slices:
            self._ready(back, self._replica(batch, index + 1), batch, index + 1)
