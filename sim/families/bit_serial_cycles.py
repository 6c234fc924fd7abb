"""Cycles and traffic of a matrix multiplication on our bit-serial machine, in closed form.

This is `bit_serial_schedule` solved for a memory that never stalls, and so what `plait_bs_core`
counts, for every shape. The recurrence takes the longest of all paths through arrival of weights,
compute, dequantiser and drain. Tiles are alike, and so are the full groups of a tile and the steps
of a group: a path's length is linear in where it changes from waiting for words to computing, and
the longest one changes at an end of the tiles, of the groups and of the steps.

It holds for buffers that bridge the headers between two tiles, which plait_bs_weight_buffer
demands of its parameters, and a memory latency of up to `WORDS_IN_FLIGHT - 2 * BURST_WORDS`.

Every argument may be a number or an array (multiplications x designs).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plait.sim.families.bit_serial_schedule import (
    ARRAY_STAGES,
    DESCRIPTOR_WORDS,
    INPUT_STAGES,
)
from plait.sim.families.bit_serial_tiles import STORED_ACTIVATION_BITS, Matmul, cut
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES

__all__ = ["MAX_INPUTS", "MatmulCycles", "Rungs", "closed_form", "matmul_cycles"]

MAX_INPUTS = 1 << 16  # of one descriptor: the PE's integer accumulators are exact up to there
PORT_STAGES = 3  # job to request, request to port, word to buffer
CHECK_CYCLES = 1  # of a descriptor
DRAIN_STAGES = 4  # select, multiply, offer to the port, see that all is written


class Rungs(NamedTuple):
    """Cycles by cause; whole numbers that add up to the machine's counter."""

    compute: Any
    descriptor: Any
    activation_load: Any
    pipeline_fill: Any  # from the last activation to the first step of weights
    dequantisation: Any  # groups shorter than the dequantiser takes; the last group of all
    memory_stall: Any  # weights used faster than they come
    drain: Any  # tiles shorter than their drain; the last tile of all


class MatmulCycles(NamedTuple):
    """Whole numbers, in the order of a ladder: first the rungs, then what energy is made of."""

    ideal: Any  # compute with all rows, columns and lanes in use
    edge_waste: Any  # the rest of it
    descriptor: Any
    activation_load: Any
    pipeline_fill: Any
    dequantisation: Any
    memory_stall: Any
    drain: Any
    busy_cycles: Any  # of the array
    memory_cycles: Any  # of the port's busier direction
    steps: Any
    weight_writes: Any
    activation_writes: Any
    weight_bits_moved: Any
    activation_bits_moved: Any


def closed_form(
    job: Matmul, scale_bits: Any, latency: Any = MEMORY_LATENCY_CYCLES, share: Any = 1
) -> Rungs:
    """Count the cycles of one descriptor.

    Args:
        job: its tiles, steps and words.
        scale_bits: cycles of the bit-serial multiplication at the end of a group.
        latency: cycles from an accepted request of the memory to its first word.
        share: a port word holds so many of what ``job.step_words`` counts: 1, or the bits of a
            word where the steps of a group are packed as bits.

    >>> job = Matmul(token_tiles=1, output_tiles=2, groups=1, steps_per_group=32,
    ...     last_group_steps=32, terms=2, step_words=1, header_words=1, activation_words=32,
    ...     result_words=4)
    >>> rungs = closed_form(job, scale_bits=8)
    >>> int(rungs.compute), int(rungs.pipeline_fill), int(sum(rungs))
    (128, 3, 211)
    """
    tiles, header = job.output_tiles, job.header_words
    full, short = job.steps_per_group, job.last_group_steps
    full_terms, short_terms = full * job.terms, short * job.terms
    full_words, short_words, words = (-(-n * job.step_words // share) for n in (full, short, 1))
    several = job.groups > 1
    compute = (job.groups - 1) * full_terms + short_terms
    dequantiser = INPUT_STAGES + ARRAY_STAGES + scale_bits  # last term to results

    # From end to end: of a full group, of the last group, of a tile, of a tile with its drain.
    full_group = np.maximum(full_terms, scale_bits)
    short_group = np.maximum(short_terms, scale_bits)
    tile = (job.groups - 1) * full_group + short_group
    drained_tile = np.maximum(tile, dequantiser + job.result_words + 1)
    tile_words = _tile_words(job, share)

    # A group's words and terms: it waits for its first step, or for its last.
    full_path = np.maximum(words + full_terms, full_words + job.terms)
    short_path = np.maximum(words + short_terms, short_words + job.terms)
    # A tile's: the words before some group, that group, the terms after it. The group is the
    # first, the one before the last, or the last.
    group_words = header + full_words
    last = 2 * header + (job.groups - 1) * group_words + short_path
    one_before = 2 * header + (job.groups - 2) * group_words + full_path + short_group
    first = 2 * header + full_path + tile - full_group
    path = np.where(several, np.maximum(np.maximum(first, one_before), last), last)

    # A ladder: the length of a token tile, counted from its last activation, with ever more of
    # what it waits for: compute alone; the dequantiser; the memory; the drain.
    fill = 2 * header + words
    computed = fill + tiles * compute
    # Before the first group there is none to wait for.
    start = np.where(several, full_terms - full_group, short_terms - short_group)
    dequantised = fill + start + tiles * tile
    supplied = path + (tiles - 1) * np.maximum(tile, tile_words)
    drained = path + (tiles - 1) * np.maximum(drained_tile, tile_words)
    # All token tiles but the first begin while the one before is drained.
    load = PORT_STAGES + latency + job.activation_words
    behind = dequantiser + job.result_words + 1 - load + (tiles - 1) * drained_tile
    drained_behind = np.maximum(drained, behind)

    count = job.token_tiles
    stalls_of_drain = drained + (count - 1) * drained_behind - count * supplied
    return Rungs(
        compute=count * tiles * compute,
        descriptor=PORT_STAGES + latency + DESCRIPTOR_WORDS + CHECK_CYCLES,
        activation_load=count * load,
        pipeline_fill=count * fill,
        dequantisation=count * (dequantised - computed) + dequantiser,
        memory_stall=count * (supplied - dequantised),
        drain=stalls_of_drain + job.result_words + DRAIN_STAGES,
    )


def _tile_words(job: Matmul, share: Any) -> Any:
    """Words of the weights of an output tile, headers included."""
    full = -(-job.steps_per_group * job.step_words // share)
    last = -(-job.last_group_steps * job.step_words // share)
    return (1 + job.groups) * job.header_words + (job.groups - 1) * full + last


def matmul_cycles(
    rows: Any,
    columns: Any,
    lanes: Any,
    terms: Any,
    port_bits: Any,
    weight_buffer_bytes: Any,
    activation_buffer_bytes: Any,
    scale_buffer_bytes: Any,
    write_port_bits: Any,
    scale_bits: Any,
    inputs: Any,
    outputs: Any,
    tokens: Any,
    batch: Any,
    weight_bits: Any,
    code_bits: Any,
    group_size: Any,
    activation_bits: Any,
    own_weights: Any,
) -> MatmulCycles:
    """Count one multiplication, `batch` times.

    Inputs beyond the activation buffer are cut into several descriptors whose results the host
    adds up.

    Args:
        rows, columns, lanes: the array and the dot product of its PEs.
        terms: cycles of one step (terms of a weight; 1 if the PE takes whole weights).
        port_bits: bits the memory port moves a cycle, in each direction.
        weight_buffer_bytes, scale_buffer_bytes: on-chip buffers; large enough, they cost no time.
        activation_buffer_bytes: on-chip buffer.
        write_port_bits: bits written into a buffer at once.
        scale_bits: cycles of the bit-serial multiplication at the end of a group.
        inputs, outputs, tokens: sizes of one multiplication.
        batch: independent multiplications of this size, each with its own descriptor.
        weight_bits: stored bits a weight; the machine moves `code_bits` and whole words instead.
        code_bits: bits of a weight's code alone.
        group_size: weights that share a scale.
        activation_bits: stored bits of an activation; the machine moves 16, and 32 a result.
        own_weights: each of the `batch` multiplications reads its own weights; here each is run by
            itself and reads them anyway.
    """
    steps = -(-inputs // lanes)
    group_steps = np.minimum(np.maximum(group_size // lanes, 1), steps)
    held = np.minimum(
        activation_buffer_bytes * 8 // (columns * lanes * STORED_ACTIVATION_BITS),
        MAX_INPUTS // lanes,
    )
    # Whole groups, unless the buffer holds less than one.
    held = np.maximum(np.where(held < group_steps, held, held - held % group_steps), 1)
    pieces = -(-steps // held)
    array = (rows, columns, lanes)

    def cost(piece: Any) -> tuple[Any, ...]:
        group = np.minimum(group_steps, piece)
        job, share = cut(array, port_bits, terms, code_bits, outputs, piece, tokens, group)
        return (*closed_form(job, scale_bits, share=share), *_words(job, share))

    sums = cost(steps - (pieces - 1) * held)
    if np.any(pieces > 1):
        sums = tuple(a + (pieces - 1) * b for a, b in zip(sums, cost(held), strict=True))
    *rungs, weight_words, activation_words, result_words = (batch * each for each in sums)
    compute, *waits = rungs
    ideal = batch * -(-(outputs * inputs * tokens * terms) // (rows * columns * lanes))
    moved = (
        compute,
        np.maximum(weight_words + activation_words, result_words),
        compute // terms,
        -(-weight_words * port_bits // write_port_bits),
        -(-activation_words * port_bits // write_port_bits),
        weight_words * port_bits,
        (activation_words + result_words) * port_bits,
    )
    return MatmulCycles(*(ideal, compute - ideal, *waits, *moved))


def _words(job: Matmul, share: Any) -> tuple[Any, Any, Any]:
    """Words a descriptor moves: itself and weights; activations; results."""
    tiles = job.token_tiles * job.output_tiles
    return (
        DESCRIPTOR_WORDS + tiles * _tile_words(job, share),
        job.token_tiles * job.activation_words,
        tiles * job.result_words,
    )
