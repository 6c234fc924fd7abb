"""A program beside what it must compute: every unit appended with its golden values.

`CheckedProgram` takes the same calls as the Assembler, on values; its `different` compares the
memory that a run leaves behind, vector by vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.hwgen.sparse_dsp.assemble import Assembler, Image, Vector, read_vector, vector_image
from plait.hwgen.sparse_dsp.weights import BLOCK, WORD_BYTES, SparseMatrix
from plait.models.golden.sparse_dsp_output import Channels, linear
from plait.models.golden.special_unit import Constants, misc
from plait.sim.compiler.instruction import MiscOperation

__all__ = ["Check", "CheckedProgram", "Value", "expected_memory", "memory_image"]


@dataclass(frozen=True, slots=True)
class Value:
    """A vector in memory and the integers it must hold."""

    vector: Vector
    numbers: NDArray[np.int64]

    def part(self, first_block: int, blocks: int) -> Value:
        """Some of its blocks."""
        chosen = self.numbers[first_block * BLOCK : (first_block + blocks) * BLOCK]
        return Value(self.vector.part(first_block, blocks), chosen)


@dataclass(frozen=True, slots=True)
class Check:
    """One result of a program.

    Args:
        name: which unit wrote it.
        value: where, and what it must be.
    """

    name: str
    value: Value


class CheckedProgram:
    """Appends units to an Assembler and computes their golden values.

    Args:
        parameters: of the core, by their Verilog names.
    """

    def __init__(self, parameters: Mapping[str, int]) -> None:
        self.assembler = Assembler(parameters)
        self.checks: list[Check] = []

    def vector(self, numbers: ArrayLike) -> Value:
        """An operand that the host provides."""
        return Value(self.assembler.vector(numbers), np.asarray(numbers, np.int64))

    def misc(
        self,
        name: str,
        operation: MiscOperation,
        left: Value,
        right: Value | None,
        constants: Constants,
        swap_halves_of: int = 0,
    ) -> Value:
        """One special function.

        Args:
            swap_halves_of: blocks of a head whose halves of ``left`` are exchanged on loading.
        """
        numbers = _padded(left.numbers)
        if swap_halves_of:
            halves = numbers.reshape(-1, 2, swap_halves_of * BLOCK // 2)
            numbers = halves[:, ::-1].reshape(-1)
        other = numbers if right is None else _padded(right.numbers)
        found = misc(operation.name.lower(), numbers, other, constants)[: len(left.numbers)]
        out = Value(self.assembler.room(len(left.numbers)), found)
        self.assembler.misc(
            operation,
            left.vector,
            None if right is None else right.vector,
            out.vector,
            constants,
            swap_halves_of,
        )
        self.checks.append(Check(name, out))
        return out

    def linear(
        self,
        name: str,
        matrix: SparseMatrix,
        channels: Channels,
        row: Value,
        out: Vector | None = None,
    ) -> Value:
        """One row times a matrix; ``out`` says where, if not at a place of its own."""
        found = linear(matrix.codes, row.numbers[None], channels)[0]
        value = Value(self.assembler.room(len(found)) if out is None else out, found)
        self.assembler.linear(matrix, channels, row.vector, value.vector)
        self.checks.append(Check(name, value))
        return value

    def linear_rows(
        self, name: str, matrix: SparseMatrix, channels: Channels, rows: Sequence[Value]
    ) -> NDArray[np.int64]:
        """A tile of rows times a matrix; gives [rows, outputs] and checks them."""
        found = linear(matrix.codes, np.stack([row.numbers for row in rows]), channels)
        padded = np.zeros((len(rows), matrix.groups * BLOCK), np.int64)
        padded[:, : found.shape[1]] = found
        order = padded.reshape(len(rows), matrix.groups, BLOCK).transpose(1, 0, 2).reshape(-1)
        value = Value(self.assembler.room(order.size), order)
        vectors = [row.vector for row in rows]
        self.assembler.linear_rows(matrix, channels, vectors, value.vector)
        self.checks.append(Check(name, value))
        return found

    def join(self, values: Sequence[Value], vector: Vector) -> Value:
        """See values that lie behind each other as one."""
        return Value(vector, np.concatenate([value.numbers for value in values]))

    def different(self, image: Image, memory: NDArray[np.uint8]) -> dict[str, int]:
        """Count the elements of every check that memory, uint8 [words, 32] from 0 on, has wrong."""
        found = {}
        for check in self.checks:
            vector = check.value.vector
            at = self.assembler.address_in(image, vector)
            got = read_vector(memory[at : at + vector.blocks], vector.elements)
            found[check.name] = int((got != check.value.numbers).sum())
        return found


def _padded(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
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
        words = vector_image(check.value.numbers)
        at = program.assembler.address_in(image, check.value.vector)
        memory[at : at + len(words)] = words
    return memory
