"""The units of a decode step exactly as FlightLLM's published instruction generator makes them.

Source: the artifact of FlightLLM (FPGA 2024, arXiv 2401.03868). Its times depend on bytes, paths,
K blocks and tokens only, so addresses stay 0. What is odd here is odd there: past keys and values
are read a second time by `concat`, whose store waits for nothing; every vector leaves the core and
comes back; loads of fused operands never wait.
"""

from __future__ import annotations

import functools

from plait.sim.compiler.instruction import LoadTarget, MiscOperation, Path, Program, Queue
from plait.sim.compiler.split import Split
from plait.sim.compiler.stream import Stream
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["CHANNELS", "MV_OUTPUTS", "attention", "concat", "fuse", "gemv", "norm"]

LD, ST, MV, MISC = Queue.LD, Queue.ST, Queue.MV, Queue.MISC
ONE, ALL, CROSS = Path.ONE_CHANNEL, Path.ALL_CHANNELS, Path.CROSS_CHANNEL

CHANNELS = 8
MV_OUTPUTS = 512
_BIAS_BYTES = 4
_A_ENTRIES = 4096
_GLOBAL_ENTRIES = 512
_OPERATIONS = {
    "add": MiscOperation.ADD,
    "mul": MiscOperation.MUL,
    "silu": MiscOperation.SILU,
    "rope": MiscOperation.MUL,
}
_OPERANDS = {"add": 1, "mul": 1, "silu": 0, "rope": 2}


@functools.lru_cache(maxsize=16)
def norm(rows: int, width: int) -> Program:
    """RMS norm of some rows, one load, pass and store a row."""
    stream = Stream()
    ahead = _GLOBAL_ENTRIES // (width // 128)
    for row in range(1, rows + 1):
        late, again = row > ahead, row + ahead <= rows
        stream.ld(width, ONE, [MISC] * late, [MISC], mode=LoadTarget.GLOBAL)
        stream.misc(
            MiscOperation.RMS_NORM, width // BLOCK, [LD, *[ST] * late], [ST, *[LD] * again],
            passes=2,
        )  # fmt: skip
        stream.st(width, ONE, [MISC], [MISC] * again)
    return stream.program()


@functools.lru_cache(maxsize=64)
def gemv(
    split: Split,
    inputs: int,
    outputs: int,
    density: float,
    ratio: float,
    bias: bool,
    fused: str,
) -> Program:
    """One vector times a matrix: 512 outputs at a time, K in pieces.

    Args:
        ratio: how much faster than bytes the weights come.
        fused: add, mul, silu, rope or nothing.
    """
    stream = Stream()
    groups = -(-outputs // MV_OUTPUTS)
    last = groups * len(split.pieces)
    stream.ld(inputs, CROSS, mode=LoadTarget.B)
    if bias:
        stream.ld(_BIAS_BYTES * outputs, ONE, mode=LoadTarget.BIAS)
    count = 0
    for group in range(groups):
        for place, piece in enumerate(split.pieces):
            count += 1
            is_end = place == len(split.pieces) - 1
            for channel in range(CHANNELS):
                stream.ld(
                    MV_OUTPUTS * BLOCK // CHANNELS * piece, ALL,
                    [MV] * (channel == 0 and count > split.depth), [MV] * (channel == 7),
                    ratio=ratio, channel=channel,
                )  # fmt: skip
            release = [LD] * (count + split.depth <= last)
            release += [ST] * (not fused and count == last) + [MISC] * (bool(fused) and is_end)
            stream.multiply(
                MV, piece, density, [LD], release, output=int(is_end), bias=int(bias and place == 0)
            )
        if fused:
            fuse(stream, fused, MV, MV_OUTPUTS, MV_OUTPUTS // BLOCK)
            stream.widen(-1, release=[ST] * (group == groups - 1))
    stream.st(outputs, ONE, [MISC if fused else MV])
    return stream.program()


def fuse(stream: Stream, fused: str, product: Queue, operand_bytes: int, blocks: int) -> None:
    """Append the loads and passes of a fused operation; its last pass releases nothing yet."""
    for _ in range(_OPERANDS[fused]):
        for channel in range(CHANNELS):
            stream.ld(
                operand_bytes, ALL, release=[MISC] * (channel == 7), mode=LoadTarget.GLOBAL,
                channel=channel,
            )  # fmt: skip
    waits = [[product]] if fused == "silu" else [[LD, product]]
    if fused == "rope":
        waits += [[LD], []]
    for wait in waits:
        stream.misc(_OPERATIONS[fused], blocks, wait)


def attention(heads: int, inputs: int, outputs: int, softmax: bool) -> Program:
    """One row a head times the keys (with softmax) or the values; inputs, outputs: of one head."""
    stream = Stream()
    blocks = outputs // BLOCK
    groups = -(-outputs // MV_OUTPUTS)
    depth = _A_ENTRIES // inputs
    stream.ld(heads * inputs, CROSS, mode=LoadTarget.B)
    loads = [sum(CHANNELS * k + c < blocks for k in range(4)) for c in range(CHANNELS)]
    loads = [load for load in loads if load]
    for head in range(1, heads + 1):
        for group in range(1, groups + 1):
            for place, load in enumerate(loads):
                stream.ld(
                    BLOCK * inputs * load, ALL, [MV] * (place == 0 and group > depth),
                    [MV] * (place == len(loads) - 1), channel=place,
                )  # fmt: skip
            release = [LD] * (group + depth <= groups)
            if group == groups:
                release += [MISC] if softmax else [ST] * (head == heads)
            stream.multiply(MV, inputs // BLOCK, 1.0, [LD], release, output=1)
        if softmax:
            stream.misc(MiscOperation.SOFTMAX, blocks, [MV], [ST] * (head == heads), passes=2)
    stream.st(heads * outputs, ONE, [MISC if softmax else MV])
    return stream.program()


def concat(width: int, tokens: int) -> Program:
    """Read all past keys or values of a layer into the output buffer."""
    stream = Stream()
    for channel in range(CHANNELS):
        stream.ld(width // CHANNELS * (tokens - 1), ALL, mode=LoadTarget.GLOBAL, channel=channel)
    stream.st(0, ONE)
    return stream.program()
