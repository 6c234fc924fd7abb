"""Splitwise's simulator (ISCA 2024, its public code), rule for rule, to compare with.

Its quirks are kept: context has no effect on the time of a token; a request gives its prompt's and
its other tokens' work to queues of their own; a span of decoding is cut at an iteration's edge when
something arrives; the time between tokens divides by all tokens; in the split cluster nothing is
added to an instance's counter when a request is routed to it. The policies of
`plait.sim.serving.scheduler` are ours and have none of these.
"""

from __future__ import annotations

import bisect
import functools
import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Profile", "Result", "play"]

LARGEST_BATCH = 512
LARGEST_BATCH_TOKENS = 2048
MOST_PREEMPTIONS = 4
MIXED_SLOWDOWN = 1.1
KV_BYTES_PER_TOKEN = 2 * 8192 * 80 * 2  # grouped heads are ignored
KV_BYTES_PER_S = 200 * 2**30 * 10  # 200 GiB/s; ten times as fast stands for 90 % overlap


@dataclass(frozen=True, slots=True)
class Profile:
    """Measured seconds over x = tokens in an iteration, lines between, the outer ones going on."""

    x: NDArray[np.float64]
    prompt_s: NDArray[np.float64]
    token_s: NDArray[np.float64]

    def prompt(self, x: float) -> float:
        """Time of an iteration of prompts."""
        return self._line(self.prompt_s, x)

    def token(self, x: float) -> float:
        """Time of an iteration of ``x`` decoding requests."""
        return self._line(self.token_s, x)

    def _line(self, values: NDArray[np.float64], x: float) -> float:
        k = min(max(bisect.bisect_right(self.x.tolist(), x) - 1, 0), len(self.x) - 2)
        slope = (values[k + 1] - values[k]) / (self.x[k + 1] - self.x[k])
        return float(values[k] + slope * (x - self.x[k]))


@dataclass(frozen=True, slots=True)
class Result:
    """Times of every request, [requests], in seconds.

    Attributes:
        arrival_s, first_token_s, finish_s: on one clock.
        generated: tokens.
    """

    arrival_s: NDArray[np.float64]
    first_token_s: NDArray[np.float64]
    finish_s: NDArray[np.float64]
    generated: NDArray[np.int64]

    def figures(self) -> dict[str, float]:
        """Give the means and 90th percentiles that the simulator reports, and its throughput."""
        first, whole = self.first_token_s - self.arrival_s, self.finish_s - self.arrival_s
        between = (whole - first) / self.generated
        makespan = float(self.finish_s.max())
        out = {}
        for name, values in (("ttft", first), ("tbt", between), ("e2e", whole)):
            out[f"{name}_mean"] = float(values.mean())
            out[f"{name}_p90"] = float(np.percentile(values, 90))
        rate = float(self.generated.sum()) / (makespan - float(self.arrival_s[0]))
        return out | {"makespan": makespan, "tok_s": rate}


@dataclass(eq=False, slots=True)
class _Request:
    arrival: float
    prompt: int
    generated: int
    preemptions: int = 0
    first: float = 0.0
    finish: float = 0.0
    target: _Instance | None = None  # where its tokens are generated
    tasks: list[_Task] = field(default_factory=list)  # not finished

    def __post_init__(self) -> None:
        self.tasks = [_Task(self, True, self.prompt, 1)]
        if self.generated > 1:
            self.tasks.append(_Task(self, False, 1, self.generated - 1))


@dataclass(eq=False, slots=True)
class _Task:
    request: _Request
    is_prompt: bool
    weight: int
    left: int  # iterations


class _Instance:
    """One server: its queues, its batch and the span that runs."""

    def __init__(self, profile: Profile, number: int, clock: _Clock) -> None:
        self.profile, self.number, self.clock = profile, number, clock
        self.counter = 0
        self.pending: list[tuple[tuple[int, float], int, _Task]] = []
        self.prompts: list[_Task] = []
        self.blocked: list[_Task] = []
        self.pool: list[_Request] = []
        self.batch: list[_Task] = []
        self.weight = 0
        self.start = self.step = 0.0
        self.count = 0
        self.paused = False
        self.span = 0  # number of the present span: older ends in the clock are void
        self.arrived = 0

    def take(self, task: _Task) -> None:
        """Queue a task; perhaps start, or cut the running span short."""
        request = task.request
        if request not in self.pool:
            bisect.insort(self.pool, request, key=lambda r: r.arrival)
        self._pend(task)
        if task.is_prompt:
            self.prompts.append(task)
        if not self.batch:
            self.begin()
            return
        decoding = sum(not one.is_prompt for one in self.batch)
        fits = len(self.batch) < LARGEST_BATCH
        fits = fits and self.weight + task.weight <= LARGEST_BATCH_TOKENS
        without = self.weight - decoding + task.weight <= LARGEST_BATCH_TOKENS
        if fits or (task.is_prompt and decoding and without):
            self._pause()

    def _pend(self, task: _Task) -> None:
        self.arrived += 1
        key = (task.request.preemptions, task.request.arrival)
        bisect.insort(self.pending, (key, self.arrived, task), key=lambda entry: entry[:2])

    def _pause(self) -> None:
        if self.paused or any(task.is_prompt for task in self.batch):
            return
        self.paused = True
        self.count = math.floor((self.clock.now - self.start) / self.step) + 1
        self._schedule()

    def _schedule(self) -> None:
        self.span += 1
        span = self.span
        self.clock.at(self.start + self.count * self.step, lambda: self._end(span))

    def _end(self, span: int) -> None:
        if span != self.span:
            return
        done = []
        for task in self.batch:
            task.left -= self.count
            if task.left == 0:
                done.append(task)
        for task in done:
            self.batch.remove(task)
            self._finish(task)
        self.begin()

    def _finish(self, task: _Task) -> None:
        request = task.request
        request.tasks.remove(task)
        self.counter -= task.weight
        if task.is_prompt:
            request.first = request.finish = self.clock.now
        else:
            request.finish = self.clock.now
        target = request.target
        if not request.tasks or (task.is_prompt and target is not self):
            self.pool.remove(request)
        if task.is_prompt and request.tasks and target is not None and target is not self:
            moved = request.prompt * KV_BYTES_PER_TOKEN / KV_BYTES_PER_S
            self.clock.at(self.clock.now + moved, lambda: target.take(request.tasks[0]))

    def begin(self) -> None:
        """Choose the next batch and start its span."""
        chosen = self._choose()
        if not chosen:
            self.batch, self.weight = [], 0
            return
        members = {id(task) for task in chosen}
        for task in self.batch:
            if id(task) not in members:
                self._pend(task)
                self.blocked.append(task)
        kept = [task for task in self.batch if id(task) in members]
        old = {id(task) for task in kept}
        self.batch = kept + [task for task in chosen if id(task) not in old]
        self.pending = [entry for entry in self.pending if id(entry[2]) not in members]
        self.prompts = [task for task in self.prompts if id(task) not in members]
        self.blocked = [task for task in self.blocked if id(task) not in members]
        for request in self.pool:
            if id(request.tasks[0]) not in members:
                request.preemptions += 1
        self._run()

    def _run(self) -> None:
        batch = self.batch
        self.weight = sum(task.weight for task in batch)
        prompts = sum(task.is_prompt for task in batch)
        if prompts == 0:
            self.step = self.profile.token(self.weight)
        else:
            self.step = self.profile.prompt(self.weight)
            if prompts < len(batch):
                self.step *= MIXED_SLOWDOWN
        self.count = 1 if prompts else min(task.left for task in batch)
        self.start, self.paused = self.clock.now, False
        self._schedule()

    def _choose(self) -> list[_Task]:
        chosen: list[_Task] = []
        requests: set[int] = set()
        weight = 0
        often = itertools.takewhile(lambda entry: entry[0][0] >= MOST_PREEMPTIONS, self.pending)
        scans: tuple[Iterable[_Task], ...] = (
            (task for _, _, task in often),
            self.prompts,
            self.blocked,
            [task for task in self.batch if not task.is_prompt],
            (request.tasks[0] for request in self.pool),
        )
        for scan in scans:
            for task in scan:
                if id(task.request) in requests:
                    continue
                if len(chosen) == LARGEST_BATCH or (
                    chosen and weight + task.weight > LARGEST_BATCH_TOKENS
                ):
                    break
                chosen.append(task)
                requests.add(id(task.request))
                weight += task.weight
        return chosen


class _Clock:
    """Events in the order of time, then of their making."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._made = 0

    def at(self, time: float, do: Callable[[], object]) -> None:
        self._made += 1
        heapq.heappush(self._events, (time, self._made, do))

    def run(self) -> None:
        while self._events:
            self.now, _, do = heapq.heappop(self._events)
            do()


def play(
    arrival_s: ArrayLike,
    prompt: ArrayLike,
    generated: ArrayLike,
    servers: Sequence[Profile],
    token_servers: Sequence[Profile] = (),
) -> Result:
    """Simulate requests, in the order of their arrival.

    Args:
        arrival_s, prompt, generated: [requests].
        servers: each does prompts, and without ``token_servers`` all other tokens too.
        token_servers: do the other tokens of the split cluster.
    """
    clock = _Clock()
    first = [_Instance(profile, k, clock) for k, profile in enumerate(servers)]
    second = [_Instance(profile, k, clock) for k, profile in enumerate(token_servers)]
    columns = (np.asarray(values).tolist() for values in (arrival_s, prompt, generated))
    requests = [_Request(float(a), int(p), int(n)) for a, p, n in zip(*columns, strict=True)]
    for request in requests:
        clock.at(request.arrival, functools.partial(_route, request, first, second))
    clock.run()
    return Result(
        np.array([request.arrival for request in requests]),
        np.array([request.first for request in requests]),
        np.array([request.finish for request in requests]),
        np.array([request.generated for request in requests]),
    )


def _route(request: _Request, first: list[_Instance], second: list[_Instance]) -> None:
    server = min(first, key=lambda one: (one.counter, one.number))
    if second:
        request.target = min(second, key=lambda one: (one.counter, one.number))
        server.take(request.tasks[0])
        return
    request.target = server
    server.counter += request.prompt + 1
    for task in list(request.tasks):
        server.take(task)
