"""The engine's loop in numba; `plait.sim.timeline.twin` is the same in readable Python."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["QUEUES", "simulate"]

QUEUES = 6
_PAIRS = QUEUES * QUEUES


@njit(cache=True)
def _by_queue(queues):
    """Instructions sorted by queue, program order kept, and where each queue begins."""
    first = np.zeros(QUEUES + 1, dtype=np.int64)
    for queue in queues:
        first[queue + 1] += 1
    for queue in range(QUEUES):
        first[queue + 1] += first[queue]
    place = first[:QUEUES].copy()
    order = np.empty(len(queues), dtype=np.int64)
    for index in range(len(queues)):
        queue = queues[index]
        order[place[queue]] = index
        place[queue] += 1
    return order, first


@njit(cache=True)
def _tokens_given(queues, releases):
    """Where the tokens of each ordered pair of queues are kept: offsets [pairs + 1]."""
    offset = np.zeros(_PAIRS + 1, dtype=np.int64)
    for index in range(len(queues)):
        release = releases[index]
        if release:
            for taker in range(QUEUES):
                if release >> taker & 1:
                    offset[queues[index] * QUEUES + taker + 1] += 1
    for pair in range(_PAIRS):
        offset[pair + 1] += offset[pair]
    return offset


@njit(cache=True)
def simulate(queues, waits, releases, durations, issue):
    """Run a program.

    Returns:
        starts and ends [instructions] (ends of what never ran are -1); instructions done [queues];
        tokens given and taken [pairs].
    """
    order, first = _by_queue(queues)
    offset = _tokens_given(queues, releases)
    tokens = np.empty(offset[_PAIRS], dtype=np.float64)
    given = np.zeros(_PAIRS, dtype=np.int64)
    taken = np.zeros(_PAIRS, dtype=np.int64)
    done = np.zeros(QUEUES, dtype=np.int64)
    free = np.zeros(QUEUES, dtype=np.float64)
    starts = np.zeros(len(queues), dtype=np.float64)
    ends = np.full(len(queues), -1.0)
    moved = True
    while moved:
        moved = False
        for queue in range(QUEUES):
            at = first[queue] + done[queue]
            while at < first[queue + 1]:
                index = order[at]
                start = free[queue]
                wait = waits[index]
                ready = True
                if wait:
                    for giver in range(QUEUES):
                        if wait >> giver & 1:
                            pair = giver * QUEUES + queue
                            if taken[pair] >= given[pair]:
                                ready = False
                                break
                            start = max(start, tokens[offset[pair] + taken[pair]])
                if not ready:
                    break
                if wait:
                    for giver in range(QUEUES):
                        if wait >> giver & 1:
                            taken[giver * QUEUES + queue] += 1
                end = start + issue + durations[index]
                starts[index] = start
                ends[index] = end
                free[queue] = end
                release = releases[index]
                if release:
                    for taker in range(QUEUES):
                        if release >> taker & 1:
                            pair = queue * QUEUES + taker
                            tokens[offset[pair] + given[pair]] = end
                            given[pair] += 1
                at += 1
                moved = True
            done[queue] = at - first[queue]
    return starts, ends, done, given, taken
