"""A max-plus recurrence over words, steps and tiles: when the bit-serial machine does what.

This is the design document of the sequencing in rtl/bit_serial: every line is a rule of the
hardware, and its cycles equal the counters of `plait_bs_core` for every shape, buffer depth and
pattern of memory stalls. `bit_serial_cycles` is its closed form for a memory that never stalls.

Times are cycle numbers. Cycle 0 is the one in which `start_i` is high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from plait.sim.families._memory_port import first_free
from plait.sim.families.bit_serial_schedule import (
    ARRAY_STAGES,
    CAUSES,
    CHANNEL_BUFFER_TILES,
    DESCRIPTOR_WORDS,
    INPUT_STAGES,
    Machine,
)
from plait.sim.families.bit_serial_tiles import Matmul
from plait.sim.families.memory_port import (
    BURST_WORDS,
    READ_CHANNEL,
    REQUEST_CHANNEL,
    WORDS_IN_FLIGHT,
    WRITE_CHANNEL,
    Memory,
)

__all__ = ["cycles_by_cause"]

(
    DESCRIPTOR,
    ACTIVATION_LOAD,
    PIPELINE_FILL,
    COMPUTE,
    MEMORY_STALL,
    DEQUANTISATION_STALL,
    OUTPUT_STALL,
    DEQUANTISATION_TAIL,
    DRAIN,
) = range(len(CAUSES))

# State of the reader: bursts asked for, words received.
(
    _JOB_FROM,  # first cycle in which the reader may ask for a burst of the present job
    _JOB_LEFT,  # words of the job not asked for yet
    _ENTERED,  # cycle in which the last burst entered the request register
    _REQUESTED,  # cycle in which the memory accepted the last request ...
    _REQUESTED_BEFORE,  # ... and the one before
    _BURST_LEFT,  # words of the last burst not received yet
    _DUE,  # cycle from which its first word may come
    _WORDS,  # words received since the start
    _ACCEPTED,  # cycle in which the last word crossed the port
    _TAKEN,  # cycle in which a buffer took the last word ...
    _TAKEN_BEFORE,  # ... and the one before
    _PORT_FIELDS,
) = range(12)


def cycles_by_cause(
    machine: Machine, matmuls: Sequence[Matmul], memory: Memory
) -> NDArray[np.int64]:
    """Cycles of a list of descriptors, [descriptors, causes]."""
    port = np.zeros(_PORT_FIELDS, dtype=np.int64)
    accepted = np.zeros(WORDS_IN_FLIGHT, dtype=np.int64)
    causes = np.zeros((len(matmuls), len(CAUSES)), dtype=np.int64)
    cycle = 1
    for matmul, row in zip(matmuls, causes, strict=True):
        cycle = _matmul(machine, matmul, memory, cycle, port, accepted, row)
    return causes


@njit(cache=True)
def _start_job(port, offered, words):
    """Hand the reader a job; it takes it at the earliest with the last burst of the one before."""
    port[_JOB_FROM] = max(offered, port[_ENTERED]) + 1
    port[_JOB_LEFT] = words


@njit(cache=True)
def _ask_for_burst(port, accepted, memory):
    enter = max(port[_JOB_FROM], port[_ENTERED] + 1, port[_REQUESTED_BEFORE] + 1)
    # Credit: of the words asked for, at most WORDS_IN_FLIGHT may be outstanding.
    received = port[_WORDS] + BURST_WORDS - WORDS_IN_FLIGHT
    if received > 0:
        enter = max(enter, accepted[(received - 1) % WORDS_IN_FLIGHT] + 1)
    port[_ENTERED] = enter
    earliest = max(enter, port[_REQUESTED]) + 1
    requested = first_free(earliest, REQUEST_CHANNEL, memory.seed, memory.threshold)
    port[_REQUESTED_BEFORE] = port[_REQUESTED]
    port[_REQUESTED] = requested
    port[_DUE] = requested + memory.latency
    port[_BURST_LEFT] = min(port[_JOB_LEFT], BURST_WORDS)
    port[_JOB_LEFT] -= port[_BURST_LEFT]


@njit(cache=True)
def _receive_word(port, accepted, buffer_free, memory):
    """Give the cycle in which a buffer, free from `buffer_free` on, takes the next word."""
    if port[_BURST_LEFT] == 0:
        _ask_for_burst(port, accepted, memory)
    earliest = max(port[_ACCEPTED] + 1, port[_DUE])
    valid = first_free(earliest, READ_CHANNEL, memory.seed, memory.threshold)
    accept = max(valid, port[_TAKEN_BEFORE] + 1)  # the skid buffer holds two words
    taken = max(accept + 1, port[_TAKEN] + 1, buffer_free)
    accepted[port[_WORDS] % WORDS_IN_FLIGHT] = accept
    port[_ACCEPTED] = accept
    port[_TAKEN_BEFORE] = port[_TAKEN]
    port[_TAKEN] = taken
    port[_WORDS] += 1
    port[_BURST_LEFT] -= 1
    return taken


@njit(cache=True)
def _drain(result, words, memory):
    """Give the cycles of the last word's selection and of its acceptance by the memory.

    Select a word of results, multiply it by the channel steps, hand it to the port: three
    registers and a skid buffer of two.
    """
    selected, scaled, handed, written, written_before = result, 0, 0, 0, 0
    for _ in range(words):
        selected = max(selected + 1, scaled)
        scaled = max(selected + 1, handed)
        handed = max(scaled + 1, written_before + 1)
        written_before = written
        earliest = max(handed, written) + 1
        written = first_free(earliest, WRITE_CHANNEL, memory.seed, memory.threshold)
    return selected, written


@njit(cache=True)
def _matmul(machine, job, memory, begin, port, accepted, causes):
    """Add one descriptor's cycles to `causes`; give the first cycle after it."""
    step_read = np.zeros(machine.weight_buffer_steps, dtype=np.int64)
    group_read = np.zeros(machine.scale_buffer_groups, dtype=np.int64)
    channel_read = np.zeros(CHANNEL_BUFFER_TILES, dtype=np.int64)
    step_count = group_count = tile_count = 0
    group_end, output_free, result, written = -machine.scale_bits, 0, 0, 0

    _start_job(port, begin, DESCRIPTOR_WORDS)
    for _ in range(DESCRIPTOR_WORDS):
        word = _receive_word(port, accepted, 0, memory)
    load = word + 2  # one cycle to check the descriptor
    causes[DESCRIPTOR] += load - begin

    for _ in range(job.token_tiles):
        _start_job(port, load, job.activation_words)
        for _ in range(job.activation_words):
            word = _receive_word(port, accepted, 0, memory)
        causes[ACTIVATION_LOAD] += word + 1 - load
        _start_job(port, load + 1, _weight_words(job))
        now = word + 1  # the cycle in which the next term could be issued
        stall = PIPELINE_FILL
        for _ in range(job.output_tiles):
            slot = tile_count % CHANNEL_BUFFER_TILES
            for _ in range(job.header_words):
                _receive_word(port, accepted, channel_read[slot] + 1, memory)
            for group in range(job.groups):
                group_slot = group_count % machine.scale_buffer_groups
                for _ in range(job.header_words):
                    _receive_word(port, accepted, group_read[group_slot] + 1, memory)
                is_last_group = group == job.groups - 1
                steps = job.last_group_steps if is_last_group else job.steps_per_group
                for step in range(steps):
                    step_slot = step_count % machine.weight_buffer_steps
                    for _ in range(job.step_words):
                        word = _receive_word(port, accepted, step_read[step_slot] + 1, memory)
                    first = max(now, word + 1)
                    causes[stall] += first - now
                    stall = MEMORY_STALL
                    last = first + job.terms - 1
                    if step == steps - 1:
                        # The dequantiser takes one group in scale_bits cycles ...
                        dequantised = max(last, group_end + machine.scale_bits)
                        causes[DEQUANTISATION_STALL] += dequantised - last
                        last = group_end = dequantised
                        if is_last_group:  # ... and the output register one tile at a time.
                            last = max(last, output_free)
                            causes[OUTPUT_STALL] += last - dequantised
                            group_end = last
                    if job.terms == 1:
                        first = last
                    step_read[step_slot] = first
                    if step == 0:
                        group_read[group_slot] = first
                    causes[COMPUTE] += job.terms
                    now = last + 1
                    step_count += 1
                group_count += 1
            result = last + INPUT_STAGES + ARRAY_STAGES + machine.scale_bits
            channel_read[slot] = result
            selected, written = _drain(result, job.result_words, memory)
            output_free = selected + 1
            tile_count += 1
        load = now
    causes[DEQUANTISATION_TAIL] += result + 1 - load
    causes[DRAIN] += written + 1 - result
    return written + 2


@njit(cache=True)
def _weight_words(job):
    steps = (job.groups - 1) * job.steps_per_group + job.last_group_steps
    tile = (1 + job.groups) * job.header_words + steps * job.step_words
    return job.output_tiles * tile
