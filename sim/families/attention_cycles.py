"""Cycles of the attention device: in closed form, and word by word where its memory stalls.

Takes the sizes of a device and the segments of a job; gives cycles by cause, those of the Verilog's
own counters. A token costs ``steps`` cycles or, if that is more, its words at the port; the values
of a token follow its key at the same pace, so they cost their latency once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from plait.sim.families._memory_port import first_free
from plait.sim.families.memory_port import (
    BURST_WORDS,
    MEMORY_LATENCY_CYCLES,
    READ_CHANNEL,
    REQUEST_CHANNEL,
    WRITE_CHANNEL,
    Memory,
    checked,
)

__all__ = ["CAUSES", "Device", "closed_form", "schedule", "token_words"]

CAUSES = ("descriptor", "load", "fill", "compute", "memory_stall", "tail", "drain")
KEY_LATENCY = 7  # last step of a key to the first of its value, without the step itself
TOKEN_BUFFER = 8  # keys, and values, that wait for their turn


@dataclass(frozen=True, slots=True)
class Device:
    """Sizes that decide the cycles.

    Args:
        steps: cycles of a key: ceil(head_size / lanes).
        vector_words: of the port, of a key.
        scales_per_word: tokens whose scales share a word.
        result_words: of a job.
    """

    steps: int
    vector_words: int
    scales_per_word: int
    result_words: int


def token_words(device: Device, segments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of the stream before the end of each token's key, [tokens].

    Each part of a segment that shares a word of scales begins with that word.
    """
    before, words = 0, []
    for first, count in np.asarray(segments, np.int64):
        token = np.arange(first, first + count)
        is_part = (token % device.scales_per_word == 0) | (token == first)
        parts = np.cumsum(is_part)
        place = np.arange(count)
        words.append(before + parts + (2 * place + 1) * device.vector_words)
        before += int(parts[-1]) + 2 * int(count) * device.vector_words
    return np.concatenate(words) if words else np.zeros(0, np.int64)


def closed_form(
    device: Device,
    segments: NDArray[np.int64],
    load_words: int,
    *,
    latency: int = MEMORY_LATENCY_CYCLES,
    runs: int = 1,
) -> Mapping[str, int]:
    """Cycles of a job by cause, behind a memory that never stalls.

    Exact as long as the memory answers within 100 cycles or so: then words requested ahead hide it.

    Args:
        load_words: score shifts, queries and segments.
        latency: of the memory.
        runs: 2 if a unified maximum did not suit.
    """
    words = token_words(device, segments)
    tokens, steps = len(words), device.steps
    cycles = dict.fromkeys(CAUSES, 0)
    cycles["descriptor"] = latency + 5
    cycles["load"] = latency + 3 + load_words
    cycles["drain"] = device.result_words + 2
    if not tokens:
        return cycles
    # The last key begins when its words are there, or one key after another has been taken.
    waits = words - words[0] - steps * np.arange(tokens)
    stall = int(np.maximum.reduce(waits))
    cycles["fill"] = runs * (latency + 4 + int(words[0]))
    cycles["compute"] = runs * tokens * steps
    cycles["memory_stall"] = runs * stall
    # Either the last value waits for its probabilities, or they for its words.
    value = max(steps + KEY_LATENCY, device.vector_words - (stall - int(waits[-1])))
    cycles["tail"] = runs * (value + 5)
    return cycles


def schedule(
    device: Device,
    jobs: Sequence[tuple[NDArray[np.int64], int, int]],
    memory: Memory | None = None,
) -> int:
    """Cycles of a list of jobs (segments, load words, runs), with the memory's stalls.

    What it leaves out: that words on their way are limited, and parts (32).
    """
    memory = checked(memory)
    how = (memory.latency, memory.threshold, memory.seed)
    now = 1  # the first cycle after that of start_i
    for segments, load_words, runs in jobs:
        now = int(_read(now, 1, *how)) + 2
        now = int(_read(now, load_words, *how)) + 1
        requests = _requests(device, segments)
        for _ in range(runs if len(requests) else 0):
            now = int(_tokens(now, requests, device.steps, device.vector_words, *how))
        now = int(_write(now, device.result_words, memory.threshold, memory.seed)) + 2
    return now - 1


def _requests(device: Device, segments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens of each part, in order: a part has a request of a word, one of its tokens."""
    parts = []
    for first, count in np.asarray(segments, np.int64).tolist():
        at, end = first, first + count
        while at < end:
            stop = min(end, (at // device.scales_per_word + 1) * device.scales_per_word)
            parts.append(stop - at)
            at = stop
    return np.array(parts, np.int64)


@njit(cache=True)
def _read(now, words, latency, threshold, seed):
    """When the last word of a job leaves the reader, which got the job in cycle ``now``."""
    taken = leaves = 0
    request = now + 1
    for word in range(words):
        if word % BURST_WORDS == 0:
            request = first_free(request + 1, REQUEST_CHANNEL, seed, threshold)
        taken = first_free(max(request + latency, taken + 1), READ_CHANNEL, seed, threshold)
        leaves = taken + 1
    return leaves


@njit(cache=True)
def _tokens(now, parts, steps, vector_words, latency, threshold, seed):
    """First cycle of the drain, for tokens that begin in cycle ``now``."""
    tokens = parts.sum()
    keys, values = np.zeros(tokens, np.int64), np.zeros(tokens, np.int64)  # first steps
    request = now + 2
    taken = leaves = before = 0  # of the word, and of that before when it left
    token = 0
    for part in parts:
        request = first_free(request + 1, REQUEST_CHANNEL, seed, threshold)
        taken = max(request + latency, taken + 1, before + 1)
        taken = first_free(taken, READ_CHANNEL, seed, threshold)
        before, leaves = leaves, max(taken, leaves) + 1
        words = 2 * part * vector_words
        for word in range(words):
            if word % BURST_WORDS == 0:
                request = first_free(request + 1, REQUEST_CHANNEL, seed, threshold)
            # A valid word waits at the port while the reader holds two.
            valid = first_free(max(request + latency, taken + 1), READ_CHANNEL, seed, threshold)
            taken = max(valid, before + 1)
            room = 0
            place = word % (2 * vector_words)
            if place == vector_words - 1 and token >= TOKEN_BUFFER:
                room = keys[token - TOKEN_BUFFER] + steps
            if place == 2 * vector_words - 1 and token >= TOKEN_BUFFER:
                room = values[token - TOKEN_BUFFER] + steps
            before, leaves = leaves, max(taken + 1, leaves + 1, room)
            if place == vector_words - 1:
                free = keys[token - 1] + steps if token else 0
                keys[token] = max(leaves + 1, free)
            if place == 2 * vector_words - 1:
                free = values[token - 1] + steps if token else 0
                values[token] = max(leaves + 1, free, keys[token] + steps + KEY_LATENCY)
                token += 1
    return values[-1] + steps + 5


@njit(cache=True)
def _write(now, words, threshold, seed):
    """When the last of some words, offered from cycle ``now``, is accepted; one is buffered."""
    offered, accepted, before = now - 1, 0, 0
    for _ in range(words):
        offered = max(offered + 1, before + 1)
        before = accepted
        accepted = first_free(max(offered + 1, accepted + 1), WRITE_CHANNEL, seed, threshold)
    return accepted
