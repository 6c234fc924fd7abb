"""Units beside what they must compute: operands as integers, results from the golden models.

A `CheckedProgram` takes units in their order; its `different` compares the memory that a run leaves
behind, vector by vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.link import Image, link
from plait.hwgen.sparse_dsp.operands import (
    channel_image,
    constants_image,
    read_vector,
    vector_image,
)
from plait.hwgen.sparse_dsp.weights import SparseMatrix, group_image
from plait.models.golden.sparse_dsp_output import Channels, linear
from plait.models.golden.special_unit import Constants, misc
from plait.sim.compiler.core import WORD_BYTES, VerilogCore
from plait.sim.compiler.core_units import multiply_unit, special_unit
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.compiler.relocatable import CoreUnit, Multiply, Special, Symbol, Vector, Weights
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["Check", "CheckedProgram", "expected_memory", "memory_image"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Check:
    """One result of a program.

    Args:
        name: the unit that wrote it.
        vector: where.
        numbers: what it must be, int64 [elements].
    """

    name: str
    vector: Vector
    numbers: Integers


class CheckedProgram:
    """Collects units and their operands, and computes golden results.

    Args:
        core: sizes of the machine.
    """

    def __init__(self, core: VerilogCore) -> None:
        self.core = core
        self.units: list[CoreUnit] = []
        self.checks: list[Check] = []
        self._operands: dict[str, NDArray[np.uint8]] = {}
        self._numbers: dict[str, Integers] = {}
        self._matrices: dict[str, tuple[SparseMatrix, Channels]] = {}
        self._constants: dict[str, Constants] = {}

    # ---- Operands -----------------------------------------------------------------------------

    def put_vector(self, name: str, numbers: ArrayLike) -> None:
        """Give a vector that the host provides its elements."""
        values = np.asarray(numbers, np.int64)
        self._numbers[name] = _padded(values)
        self._operands[name] = vector_image(values)

    def put_matrix(self, weights: Weights, matrix: SparseMatrix, channels: Channels) -> None:
        """Give weights their codes and every output its constants."""
        if matrix.codes.shape != (weights.outputs, weights.inputs) or matrix.bits != weights.bits:
            raise SpecError(
                "not the matrix of the program", where=weights.name,
                got=f"{matrix.codes.shape}, {matrix.bits} bits",
                expected=f"({weights.outputs}, {weights.inputs}), {weights.bits} bits",
            )  # fmt: skip
        images = [group_image(matrix, group) for group in range(matrix.groups)]
        names = weights.codes.name, weights.masks.name, weights.numbers.name
        for name, words in zip(names, zip(*images, strict=True), strict=True):
            self._operands[name] = np.concatenate(words)
        self._operands[weights.channels.name] = channel_image(channels)
        self._matrices[weights.name] = matrix, channels

    def put_constants(self, symbol: Symbol, constants: Constants) -> None:
        """Give a special function its multipliers and shifts."""
        self._constants[symbol.name] = constants
        self._operands[symbol.name] = constants_image(constants)

    def numbers(self, vector: Vector) -> Integers:
        """Elements of a vector that was put or computed."""
        first = vector.first_block * BLOCK
        return self._numbers[vector.name][first : first + vector.elements]

    # ---- Units --------------------------------------------------------------------------------

    def append(self, unit: CoreUnit) -> Integers:
        """Take a unit whose operands are there; give its golden result."""
        task = unit.task
        found = self._product(task) if isinstance(task, Multiply) else self._special(task)
        out = task.out
        whole = self._numbers.setdefault(out.name, np.zeros(out.symbol.words * BLOCK, np.int64))
        whole[out.first_block * BLOCK :][: len(found)] = found
        self.units.append(unit)
        self.checks.append(Check(unit.name, out, found))
        return found

    def _product(self, task: Multiply) -> Integers:
        """Of one row [outputs]; of several, in the order of memory: [groups, rows, 16 outputs]."""
        matrix, channels = self._matrices[task.weights.name]
        chosen = slice(task.groups.start * BLOCK, task.groups.stop * BLOCK)
        part = Channels(
            channels.bias[chosen], channels.multiplier[chosen], channels.shift[chosen],
            channels.is_int8,
        )  # fmt: skip
        rows = np.stack([self.numbers(row) for row in task.rows])
        found = linear(matrix.codes[chosen], rows, part)
        if not task.is_tile:
            return found[0]
        padded = np.zeros((len(rows), len(task.groups) * BLOCK), np.int64)
        padded[:, : found.shape[1]] = found
        return padded.reshape(len(rows), -1, BLOCK).transpose(1, 0, 2).reshape(-1)

    def _special(self, task: Special) -> Integers:
        left = _padded(self.numbers(task.left))
        right = left if task.right is None else _padded(self.numbers(task.right))
        if task.head_blocks:
            halves = left.reshape(-1, 2, task.head_blocks * BLOCK // 2)
            left = halves[:, ::-1].reshape(-1)
        constants = self._constants[task.constants.name]
        found = misc(task.operation.name.lower(), left, right, constants)
        return found[: task.out.elements]

    # ---- Units from values --------------------------------------------------------------------

    def vector(self, numbers: ArrayLike) -> Vector:
        """An operand without a name."""
        vector = Vector.named(f"operand {len(self._operands)}", np.asarray(numbers).shape[-1])
        self.put_vector(vector.name, numbers)
        return vector

    def misc(
        self,
        name: str,
        operation: MiscOperation,
        left: Vector,
        right: Vector | None,
        constants: Constants,
        head_blocks: int = 0,
    ) -> Vector:
        """One special function; arguments as of `plait.sim.compiler.relocatable.Special`."""
        symbol, out = Symbol(f"{name}.constants", 1), Vector.named(name, left.elements)
        self.put_constants(symbol, constants)
        task = Special(operation, left, right, out, symbol, constants.is_int8, head_blocks)
        self.append(special_unit(self.core, name, task))
        return out

    def multiply(
        self,
        name: str,
        matrix: SparseMatrix,
        channels: Channels,
        rows: Sequence[Vector],
        is_tile: bool = False,
    ) -> Vector:
        """One row (MV) or a tile of rows (MM) times a matrix."""
        outputs, inputs = matrix.codes.shape
        kept = None if matrix.mask is None else matrix.kept
        weights = Weights(f"{name}.weights", outputs, inputs, matrix.bits, kept)
        elements = len(rows) * matrix.groups * BLOCK if is_tile else outputs
        out = Vector.named(name, elements)
        task = Multiply(weights, tuple(rows), out, channels.is_int8, is_tile=is_tile)
        self.put_matrix(weights, matrix, channels)
        self.append(multiply_unit(self.core, name, task))
        return out

    # ---- The whole ------------------------------------------------------------------------------

    def image(self) -> Image:
        """Link."""
        return link(self.units, self._operands, self.core)

    def different(self, image: Image, memory: NDArray[np.uint8]) -> dict[str, int]:
        """Count the elements of every check that memory, uint8 [words, 32] from 0 on, has wrong."""
        found = {}
        for check in self.checks:
            at = image.address_of(check.vector)
            got = read_vector(memory[at : at + check.vector.blocks], check.vector.elements)
            found[check.name] = int((got != check.numbers).sum())
        return found


def _padded(numbers: Integers) -> Integers:
    """To whole blocks, with zeros."""
    return np.pad(numbers, (0, -len(numbers) % BLOCK))


def memory_image(image: Image) -> NDArray[np.uint8]:
    """The memory before a run, uint8 [words, 32]."""
    memory = np.zeros((image.words, WORD_BYTES), np.uint8)
    for address, words in image.blocks.items():
        memory[address : address + len(words)] = words
    return memory


def expected_memory(program: CheckedProgram, image: Image) -> NDArray[np.uint8]:
    """The memory as a run must leave it, by the golden values, uint8 [words, 32]."""
    memory = memory_image(image)
    for check in program.checks:
        words = vector_image(check.numbers)
        at = image.address_of(check.vector)
        memory[at : at + len(words)] = words
    return memory
