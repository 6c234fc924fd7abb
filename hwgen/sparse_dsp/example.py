"""The program that `plait generate` writes beside the Verilog: a little of everything, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plait.hwgen.design import Design
from plait.hwgen.sparse_dsp.checked import CheckedProgram
from plait.hwgen.sparse_dsp.layer import Layer
from plait.hwgen.sparse_dsp.link import Image
from plait.hwgen.sparse_dsp.parameters import core_from
from plait.hwgen.sparse_dsp.program import disassemble
from plait.hwgen.sparse_dsp.weights import SparseMatrix
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_unit import UNIT_OPERATIONS, Constants
from plait.models.graph.workload import Workload
from plait.sim.compiler.core_units import TWO_OPERANDS
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.compiler.kept import KEPT, WEIGHT_BITS
from plait.sim.families.sparse_dsp_verilog import run_units

__all__ = ["Example", "example", "random_channels", "random_layer", "random_matrix"]

_ELEMENTS = 160


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


def random_layer(rng: np.random.Generator, workload: Workload) -> Layer:
    """Weights and a state of the shapes of a workload's layers, norms with gains around 1."""
    c = workload.columns
    weights, gains = {}, {}
    for row, op in enumerate(map(str, c["op"])):
        name = op.rpartition(".")[2]
        if "*" in op and c["kind"][row] == "linear":
            shape = int(c["cout"][row]), int(c["cin"][row])
            weights[name] = rng.standard_normal(shape) / np.sqrt(shape[1])
        elif "*" in op and c["kind"][row] == "norm":
            gains[name] = 1 + 0.1 * rng.standard_normal(int(c["elements"][row]))
    attention = list(c["kind"]).index("attention")
    heads, size = int(c["kv_heads"][attention]), int(c["head_dim"][attention])
    past = int(c["keys"][attention]) - 1, heads, size
    angles = np.tile(rng.uniform(0, 2 * np.pi, size // 2), 2)
    return Layer(
        weights=weights,
        gains=gains,
        hidden=rng.standard_normal(len(next(iter(gains.values())))),
        past_keys=rng.standard_normal(past),
        past_values=rng.standard_normal(past),
        cosines=np.cos(angles),
        sines=np.sin(angles),
        epsilon=1e-5,
    )


def example(design: Design, seed: int = 0) -> Example:
    """Every width dense and sparse as MV, every special function, and a tile as MM."""
    rng = np.random.default_rng(seed)
    program = CheckedProgram(core_from(design.parameters))
    for bits in WEIGHT_BITS:
        for sparse in (True, False):
            matrix = random_matrix(rng, 40, 90, bits, sparse)
            channels = random_channels(rng, 40, is_int8=sparse)
            row = program.vector(rng.integers(-128, 128, 90))
            name = f"mv int{bits} {'sparse' if sparse else 'dense'}"
            program.multiply(name, matrix, channels, [row])
    for name in UNIT_OPERATIONS:
        operation = MiscOperation[name.upper()]
        left, right = (program.vector(rng.integers(-3000, 3000, _ELEMENTS)) for _ in range(2))
        is_gated = name in ("silu", "gelu", "rms_norm")
        constants = Constants(30000, 20000, input_shift=10, output_shift=31 if is_gated else 18)
        program.misc(name, operation, left, right if operation in TWO_OPERANDS else None, constants)
    heads = program.vector(rng.integers(-3000, 3000, 192))
    shift = Constants(output_shift=10)
    program.misc("halves exchanged", MiscOperation.MUL, heads, heads, shift, head_blocks=4)
    matrix = random_matrix(rng, 48, _ELEMENTS, 4)
    rows = rng.integers(-128, 128, (design.parameters["Rows"], _ELEMENTS))
    tile = [program.vector(row) for row in rows]
    program.multiply("mm", matrix, random_channels(rng, 48, is_int8=True), tile, is_tile=True)
    image = program.image()
    planned = run_units(program.units, program.core)
    return Example(image, program, 0, image.words, 2 * planned.times.cycles)
