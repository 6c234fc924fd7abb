"""The units of a prefill step exactly as FlightLLM's published instruction generator makes them.

Source: the artifact of FlightLLM (FPGA 2024, arXiv 2401.03868). Every tile of 128 rows reloads all
weights over one cross-channel path; attention skips the blocks of 64 x 64 that a measured mask says
are empty; stores of the last 16 rows move 16 bytes, not 256.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from plait.sim.compiler.instruction import LoadTarget, MiscOperation, Path, Program, Queue
from plait.sim.compiler.published_decode import CHANNELS, fuse
from plait.sim.compiler.published_masks import HeadMask
from plait.sim.compiler.split import Split
from plait.sim.compiler.stream import Stream
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["ROWS", "gemm", "keys", "values"]

LD, ST, MM, MISC = Queue.LD, Queue.ST, Queue.MM, Queue.MISC
ONE, ALL, CROSS = Path.ONE_CHANNEL, Path.ALL_CHANNELS, Path.CROSS_CHANNEL

ROWS = 128
_ROW_BLOCKS = ROWS // BLOCK
_BIAS_BYTES = 4
_GLOBAL_ENTRIES = 512
_ENTRIES = 4096  # of A and of B
_HEAD = 128  # values of a head
_HEAD_BLOCKS = _HEAD // BLOCK
_MASK_BLOCKS = 4  # row blocks of a row of the mask


@dataclass(frozen=True, slots=True)
class _Gemm:
    inputs: int
    outputs: int
    density: float
    ratio: float
    fused: str
    pieces: tuple[int, ...]
    depth: int


@functools.lru_cache(maxsize=16)
def gemm(
    split: Split,
    rows: int,
    inputs: int,
    outputs: int,
    density: float,
    ratio: float,
    bias: bool,
    fused: str,
) -> Program:
    """Some rows times a matrix: tiles of 128 rows, 16 outputs at a time, K in pieces."""
    one = _Gemm(inputs, outputs, density, ratio, fused, split.pieces, split.depth)
    parts = []
    if bias:
        stream = Stream()
        stream.ld(_BIAS_BYTES * outputs, ONE, mode=LoadTarget.BIAS)
        parts.append(stream.program())
    tiles = rows // ROWS
    kinds = [(tile > 0, tile == tiles - 1) for tile in range(tiles)]
    programs = {kind: _tile(one, *kind) for kind in set(kinds)}
    return Program.join([*parts, *(programs[kind] for kind in kinds)])


def _tile(one: _Gemm, is_late: bool, is_last: bool) -> Program:
    stream = Stream()
    blocks = one.outputs // BLOCK
    last = blocks * len(one.pieces)
    for channel in range(CHANNELS):
        stream.ld(BLOCK * one.inputs, ALL, [MM] * (is_late and channel == 0), channel=channel)
    count = 0
    after = MISC if one.fused else ST
    for block in range(1, blocks + 1):
        again = block + _GLOBAL_ENTRIES <= blocks
        for place, piece in enumerate(one.pieces):
            count += 1
            is_end = place == len(one.pieces) - 1
            stream.ld(
                BLOCK * BLOCK * piece, CROSS, [MM] * (count > one.depth), [MM], ratio=one.ratio,
                mode=LoadTarget.B,
            )  # fmt: skip
            waits, release = [LD], [LD] * (count + one.depth <= last)
            if count == last and not is_last:
                release = [LD]
            if is_end:
                release.append(after)
                waits += [after] * (block > _GLOBAL_ENTRIES)
            stream.multiply(MM, piece, one.density, waits, release, output=int(is_end))
        if one.fused:
            fuse(stream, one.fused, MM, BLOCK * BLOCK, _ROW_BLOCKS)
            stream.widen(-1, release=[ST, *[MM] * again])
        for row in range(_ROW_BLOCKS):
            is_very_last = is_last and row == _ROW_BLOCKS - 1
            stream.st(
                BLOCK if is_very_last else BLOCK * BLOCK, ALL,
                [MISC if one.fused else MM] * (row == 0),
                [MM] * (row == _ROW_BLOCKS - 1 and not one.fused and again), channel=row,
            )  # fmt: skip
    return stream.program()


def keys(rows: int, heads: Sequence[HeadMask]) -> Program:
    """Queries times keys with softmax, one head after another."""
    return Program.join([_keys(rows, head) for head in heads])


@functools.lru_cache(maxsize=256)
def _keys(rows: int, head: HeadMask) -> Program:
    stream = Stream()
    tiles = rows // ROWS
    depth = _ENTRIES // (8 * _HEAD_BLOCKS)
    out_depth = _GLOBAL_ENTRIES // (rows // BLOCK)
    for tile in range(1, tiles + 1):
        again = tile + out_depth <= tiles
        for channel in range(CHANNELS):
            stream.ld(BLOCK * _HEAD, ALL, [MM] * (tile > 1 and channel == 0), channel=channel)
        last = _MASK_BLOCKS * head.pairs[tile - 1]
        for count in range(1, last + 1):
            stream.ld(BLOCK * _HEAD, CROSS, [MM] * (count > depth), [MM], mode=LoadTarget.B)
            more = count + depth <= last or (count == last and tile < tiles)
            waits = [LD, *[MISC] * (count == 1 and tile > out_depth)]
            release = [LD] * more + [MISC] * (count == last)
            stream.multiply(MM, _HEAD_BLOCKS, 1.0, waits, release, output=1)
        for row in range(_ROW_BLOCKS):
            live = head.rows[2 * (tile - 1) + row // _MASK_BLOCKS]
            is_end = row == _ROW_BLOCKS - 1
            for line in range(BLOCK):
                release = [ST, *[MM] * (is_end and again)] if line == BLOCK - 1 else []
                stream.misc(
                    MiscOperation.SOFTMAX, _MASK_BLOCKS * live, [MM] * (row == line == 0), release,
                    passes=2, mask=1,
                )  # fmt: skip
            stream.st(BLOCK * 64 * live, ALL, [MISC], channel=row)
    return stream.program()


def values(rows: int, heads: Sequence[HeadMask]) -> Program:
    """Probabilities times values, one head after another; empty mask columns are filled with 0."""
    return Program.join([_values(rows, head) for head in heads])


@functools.lru_cache(maxsize=256)
def _values(rows: int, head: HeadMask) -> Program:
    stream = Stream()
    tiles, k_blocks = rows // ROWS, rows // BLOCK
    depth = _ENTRIES // (8 * k_blocks)
    out_depth = _GLOBAL_ENTRIES // _HEAD_BLOCKS
    for tile in range(1, tiles + 1):
        begin = len(stream)
        for row in range(_ROW_BLOCKS):
            _probabilities(stream, head, 2 * (tile - 1) + row // _MASK_BLOCKS, k_blocks)
        stream.widen(begin, wait=[MM] * (tile > 1))
        for count in range(1, _HEAD_BLOCKS + 1):
            is_end = count == _HEAD_BLOCKS
            stream.ld(
                BLOCK * BLOCK * k_blocks, CROSS, [MM] * (count > depth), [MM], mode=LoadTarget.B
            )
            more = count + depth <= _HEAD_BLOCKS or (is_end and tile < tiles)
            waits = [LD, *[ST] * (count == 1 and tile > out_depth)]
            stream.multiply(MM, k_blocks, 1.0, waits, [LD] * more + [ST] * is_end, output=1)
        for row in range(_ROW_BLOCKS):
            is_end = row == _ROW_BLOCKS - 1
            stream.st(
                BLOCK * _HEAD, ALL, [MM] * (row == 0),
                [MM] * (is_end and tile + out_depth <= tiles), channel=row,
            )  # fmt: skip
    return stream.program()


def _probabilities(stream: Stream, head: HeadMask, row: int, k_blocks: int) -> None:
    """One row block: zeros for what is masked, a load a run of live columns."""
    live, runs = head.rows[row], head.runs[row]
    if _MASK_BLOCKS * live < k_blocks:
        empty = k_blocks - _MASK_BLOCKS * live
        stream.ld(BLOCK * BLOCK * empty, Path.ZERO_FILL, zero_fill=1)
    for run in range(runs):
        columns = live - runs + 1 if run == 0 else 1  # only their sum matters for the time
        stream.ld(BLOCK * 64 * columns, ALL)
