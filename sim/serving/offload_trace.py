"""Ragged batches through the offload pipeline, layer by layer: what iterations only approximate.

Every batch has its own requests, which finish at different tokens; the time of a slice is that of
the closed form for the requests its batch still has. No request joins later.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.sim.families import offload_times as ideal
from plait.sim.families.offload_rotation import POOL, replicas

__all__ = ["TraceResult", "play"]


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What a run gives.

    Attributes:
        time_between_tokens_s: of every request and token, the first from its batch's start.
        makespan_s: when the last token is done.
        tokens: in all.
        pool_busy_s: of the memory devices.
    """

    time_between_tokens_s: NDArray[np.float64]
    makespan_s: float
    tokens: int
    pool_busy_s: float


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds of one layer of one batch at one token."""

    model: float
    attention: float
    network: float


def play(
    model: ideal.OffloadedModel,
    compute: ideal.Peak,
    memory: ideal.Peak,
    *,
    context: ArrayLike,
    generated: ArrayLike,
    batches: int,
    bandwidth_bytes_per_s: float,
    round_trip_s: float,
) -> TraceResult:
    """Play requests that are all there, prefilled, at time 0; request i is in batch i mod n.

    Args:
        model, compute, memory: sizes, and what one replica and the whole memory pool reach.
        context, generated: [requests] of tokens.
        batches: n, in flight.
        bandwidth_bytes_per_s, round_trip_s: of the network between the pools.
    """
    context, generated = np.asarray(context, dtype=np.int64), np.asarray(generated, dtype=np.int64)
    members = [np.arange(j, len(context), batches) for j in range(batches)]
    times = []
    for rows in members:
        steps = []
        for step in range(int(generated[rows].max(initial=0))):
            alive = rows[generated[rows] > step]
            total = int((context[alive] + step).sum())
            seconds = (
                ideal.non_attention_seconds(model, compute, len(alive)),
                ideal.attention_seconds(model, memory, total),
                ideal.network_seconds(model, len(alive), bandwidth_bytes_per_s, round_trip_s),
            )
            steps.append(_Times(*(float(value) / model.layers for value in seconds)))
        times.append(steps)
    offsets, done, pool_busy_s = _pipeline(times, model.layers)
    gaps: list[NDArray[np.float64]] = []
    for rows, offset, ends in zip(members, offsets, done, strict=True):
        between = np.diff(ends, prepend=offset)
        gaps.extend(between[: generated[row]] for row in rows)
    return TraceResult(
        np.concatenate(gaps),
        max(ends[-1] for ends in done if ends),
        int(generated.sum()),
        pool_busy_s,
    )


def _pipeline(
    times: Sequence[Sequence[_Times]], layers: int
) -> tuple[list[float], list[list[float]], float]:
    """Give each batch's start, the times of its tokens, and the pool's busy time.

    Events are ordered by (time, resource, sequence). A free resource serves what has waited
    longest, the lower batch of a tie first.
    """
    count = replicas(len(times))
    events: list[tuple[float, int, int, tuple[int, int]]] = []
    waiting: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    free: dict[int, float] = defaultdict(float)
    offsets = [j * steps[0].model / count if steps else 0.0 for j, steps in enumerate(times)]
    done: list[list[float]] = [[] for _ in times]
    busy, made = 0.0, 0

    def ready(time: float, resource: int, batch: int, index: int) -> None:
        nonlocal made
        made += 1
        heapq.heappush(events, (time, resource, made, (batch, index)))

    for j, steps in enumerate(times):
        if steps:
            ready(offsets[j], j % count, j, 0)
    while events:
        now, resource = events[0][0], events[0][1]
        while events and events[0][:2] == (now, resource):
            batch, index = heapq.heappop(events)[3]
            if index >= 0:
                heapq.heappush(waiting[resource], (now, batch, index))
        if not waiting[resource] or free[resource] > now:
            continue
        _, batch, index = heapq.heappop(waiting[resource])
        step = times[batch][index // layers]
        end = now + (step.attention if resource == POOL else step.model)
        free[resource] = end
        ready(end, resource, batch, -1)
        if resource != POOL:
            ready(end + step.network / 2, POOL, batch, index)
            continue
        busy += step.attention
        back = end + step.network / 2
        if (index + 1) % layers == 0:
            done[batch].append(back)
        if index + 1 < layers * len(times[batch]):
            ready(back, (batch + index + 1) % count, batch, index + 1)
    return offsets, done, busy
