"""A recurrence over instructions and words: when the machine of rtl/sparse_dsp does what.

Every line is a rule of the hardware; the sum equals the counter of `plait_sd_core` for every
program of whole units, with and without stalls of the memory. Times are cycle numbers; cycle 0 is
the one in which `start_i` is high.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from plait.sim.compiler.instruction import Queue
from plait.sim.families._memory_port import first_free
from plait.sim.families.memory_port import (
    BURST_WORDS,
    READ_CHANNEL,
    REQUEST_CHANNEL,
    WORDS_IN_FLIGHT,
    WRITE_CHANNEL,
)

__all__ = ["KEPT_WORDS", "run_segment"]

_LD, _ST, _MM, _MV, _MISC, _SYS = (int(queue) for queue in Queue)
_QUEUES = len(Queue)
_LD_IN_FLIGHT = 8
KEPT_WORDS = 512  # history of words received: more than can be in flight


@njit(cache=True)
def _read(
    job: int,
    words: int,
    port: NDArray[np.int64],
    taken: NDArray[np.int64],
    memory: tuple[int, int, int],
) -> tuple[int, int]:
    """Read consecutive words; give the cycle of the last word at the port, and of the last burst.

    Args:
        job: cycle in which the reader takes the job.
        port: words asked for, words received, cycles of the last two accepted requests.
        taken: cycles in which words were received, the last KEPT_WORDS.
    """
    latency, threshold, seed = memory
    entered = job
    left = words
    while left > 0:
        burst = min(left, BURST_WORDS)
        # The register behind the reader holds two requests.
        entered = max(entered + 1, port[3] + 1)
        beyond = port[0] - (WORDS_IN_FLIGHT - BURST_WORDS)
        if beyond > 0:
            entered = max(entered, taken[(beyond - 1) % KEPT_WORDS] + 1)
        accepted = first_free(max(entered, port[2]) + 1, REQUEST_CHANNEL, seed, threshold)
        port[3], port[2] = port[2], accepted
        port[0] += burst
        for _ in range(burst):
            before = taken[(port[1] - 1) % KEPT_WORDS] if port[1] else -1
            due = max(before + 1, accepted + latency)
            taken[port[1] % KEPT_WORDS] = first_free(due, READ_CHANNEL, seed, threshold)
            port[1] += 1
        left -= burst
    return taken[(port[1] - 1) % KEPT_WORDS], entered


@njit(cache=True)
def run_segment(
    begin: int,
    segment_words: int,
    instructions: NDArray[np.int64],
    memory: tuple[int, int, int],
    queue_depth: int,
    port: NDArray[np.int64],
    taken: NDArray[np.int64],
    tokens: NDArray[np.int64],
    times: NDArray[np.int64],
) -> tuple[int, int]:
    """Run one segment; give the cycle in which its run begins and the last one of it.

    Args:
        begin: cycle in which the header is asked for.
        instructions: [instructions, 6]: queue, wait, release, 32-bit words, work, rows. Work is the
            words of a row (LD), the words (ST) or cycles from start to end (the others).
        tokens: [giver, taker, 2 + capacity]: given, taken, then the cycles from which each counts.
        times: [instructions, 2] gets the start and the last cycle of each.
    """
    last, _ = _read(begin, 1, port, taken, memory)
    last, _ = _read(last + 2, segment_words, port, taken, memory)
    running = last + 2
    dispatched = running
    word_end = running
    capacity = tokens.shape[2] - 2
    starts = np.zeros((_QUEUES, queue_depth), np.int64)
    counts = np.zeros(_QUEUES, np.int64)
    ready = np.full(_QUEUES, running, np.int64)  # from when a unit takes its next instruction
    flights = np.zeros(_LD_IN_FLIGHT, np.int64)
    job_free = running
    write_last = 0
    finish = running
    for index in range(len(instructions)):
        queue, wait, release, words, work, rows = instructions[index]
        slot = counts[queue] % queue_depth
        dispatched += words
        if counts[queue] >= queue_depth:
            dispatched = max(dispatched, starts[queue, slot] + 1)
        start = max(dispatched + 1, ready[queue])
        for giver in range(_QUEUES):
            if wait >> giver & 1:
                number = tokens[giver, queue, 1]
                start = max(start, tokens[giver, queue, 2 + number % capacity])
                tokens[giver, queue, 1] = number + 1
        if queue == _LD:
            flight = counts[queue] % _LD_IN_FLIGHT
            if counts[queue] >= _LD_IN_FLIGHT:
                start = max(start, flights[flight] + 1)
            job, arrived = start, 0
            for _ in range(rows):
                job = max(job + 1, job_free)
                arrived, job_free = _read(job, work, port, taken, memory)
            ready[queue] = job
            end = arrived + 1
            flights[flight] = end
        elif queue == _ST:
            end = start
            for word in range(work):
                due = max(start + 3 + word, write_last + 1)
                end = first_free(due, WRITE_CHANNEL, memory[2], memory[1])
                write_last = end
            ready[queue] = end + 1
        else:
            end = start + work - 1
            ready[queue] = end + 1
            if queue in (_MM, _MV):
                ready[_MM] = end + 1
                ready[_MV] = end + 1
        starts[queue, slot] = start
        counts[queue] += 1
        for taker in range(_QUEUES):
            if release >> taker & 1:
                number = tokens[queue, taker, 0]
                tokens[queue, taker, 2 + number % capacity] = end + 1
                tokens[queue, taker, 0] = number + 1
        times[index, 0] = start
        times[index, 1] = end
        finish = max(finish, end + 1)
        word_end = dispatched
    return running, max(finish, word_end + 1)
