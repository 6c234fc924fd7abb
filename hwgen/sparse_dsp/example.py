"""The program that `plait generate` writes beside the Verilog: a little of everything, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plait.hwgen.design import Design
from plait.hwgen.sparse_dsp.assemble import Image
from plait.hwgen.sparse_dsp.checked import CheckedProgram
from plait.hwgen.sparse_dsp.program import disassemble
from plait.hwgen.sparse_dsp.weights import KEPT, WEIGHT_BITS, SparseMatrix
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_unit import UNIT_OPERATIONS, Constants
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.families.sparse_dsp_schedule import schedule

__all__ = ["Example", "example", "random_channels", "random_matrix"]

_ELEMENTS = 160
_TWO_OPERANDS = ("add", "mul", "rms_norm")


@dataclass(frozen=True, slots=True)
class Example:
    """A program and what its run must leave in memory.

    Args:
        image: instructions and memory.
        checked: the golden values.
        results_at, results_words: all of the memory: nothing else may be written either.
        cycle_bound: twice what a memory that never stalls takes.
    """

    image: Image = field(repr=False)
    checked: CheckedProgram = field(repr=False)
    results_at: int
    results_words: int
    cycle_bound: int

    @property
    def blocks(self) -> Mapping[int, NDArray[np.uint8]]:
        """What the host puts into memory."""
        return self.image.blocks

    @property
    def listing(self) -> str:
        """The instructions as text."""
        return disassemble(self.image.program) + "\n"


def random_matrix(
    rng: np.random.Generator, outputs: int, inputs: int, bits: int, sparse: bool = True
) -> SparseMatrix:
    """Weights over the whole range; each block keeps 0, 2, 4, 8 or 16 of 16."""
    limit = 1 << (bits - 1)
    codes = rng.integers(-limit, limit, (outputs, inputs)).astype(np.int8)
    if not sparse:
        return SparseMatrix(codes, None, bits)
    mask = np.zeros((outputs, inputs), bool)
    for group in range(0, outputs, 16):
        for block in range(0, inputs, 16):
            kept = rng.choice([n for n in KEPT if n <= inputs - block])
            for row in range(group, min(outputs, group + 16)):
                mask[row, block + rng.permutation(min(16, inputs - block))[:kept]] = True
    return SparseMatrix(np.where(mask, codes, 0).astype(np.int8), mask, bits)


def random_channels(rng: np.random.Generator, outputs: int, is_int8: bool) -> Channels:
    """Output constants under which results neither all vanish nor all saturate."""
    return Channels(
        bias=rng.integers(-1000, 1000, outputs).astype(np.int32),
        multiplier=rng.integers(1, 65536, outputs).astype(np.uint16),
        shift=rng.integers(18, 24, outputs).astype(np.uint8),
        is_int8=is_int8,
    )


def example(design: Design, seed: int = 0) -> Example:
    """Every width dense and sparse as MV, every special function, and a tile as MM."""
    rng = np.random.default_rng(seed)
    program = CheckedProgram(design.parameters)
    for bits in WEIGHT_BITS:
        for sparse in (True, False):
            matrix = random_matrix(rng, 40, 90, bits, sparse)
            channels = random_channels(rng, 40, is_int8=sparse)
            row = program.vector(rng.integers(-128, 128, 90))
            program.linear(f"mv int{bits} {'sparse' if sparse else 'dense'}", matrix, channels, row)
    for operation in UNIT_OPERATIONS:
        left, right = (program.vector(rng.integers(-3000, 3000, _ELEMENTS)) for _ in range(2))
        is_gated = operation in ("silu", "gelu", "rms_norm")
        constants = Constants(30000, 20000, input_shift=10, output_shift=31 if is_gated else 18)
        other = right if operation in _TWO_OPERANDS else None
        program.misc(operation, MiscOperation[operation.upper()], left, other, constants)
    heads = program.vector(rng.integers(-3000, 3000, 192))
    shift = Constants(output_shift=10)
    program.misc("halves exchanged", MiscOperation.MUL, heads, heads, shift, swap_halves_of=4)
    matrix = random_matrix(rng, 48, _ELEMENTS, 4)
    rows = rng.integers(-128, 128, (design.parameters["Rows"], _ELEMENTS))
    tile = [program.vector(row) for row in rows]
    program.linear_rows("mm", matrix, random_channels(rng, 48, is_int8=True), tile)
    image = program.assembler.image()
    planned = schedule(image.segments, image.segment_words, design.parameters["QueueDepth"])
    return Example(image, program, 0, image.words, 2 * planned.cycles)
