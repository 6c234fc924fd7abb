"""Relocatable units: instructions whose addresses off chip count from the begin of a symbol.

A symbol is a run of words that has a name and a size; where it lies is the linker's choice
(`plait.hwgen.sparse_dsp.link`). A unit also says what it computes, so that the linker can find the
values of what it reads and the golden result of what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.compiler.core import INSTRUCTION_WORD_BYTES, WORD_BYTES, VerilogCore
from plait.sim.compiler.instruction import INSTRUCTION_WORDS, MiscOperation, Program, Queue
from plait.sim.compiler.kept import code_words, count_words
from plait.sim.compiler.unit import whole
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = [
    "CHANNELS_A_WORD", "CoreUnit", "Multiply", "Special", "Symbol", "Traffic", "Vector", "Weights",
    "port_words", "segments",
]  # fmt: skip

CHANNELS_A_WORD = 4
"""Outputs whose bias, multiplier and shift a word holds."""

Traffic = Literal["weight_bytes", "activation_bytes", "kv_bytes"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """Words off chip that have a name.

    Attributes:
        words: of the memory port.
        traffic: which bytes of a step its loads and stores are.
    """

    name: str
    words: int
    traffic: Traffic = "activation_bytes"


@dataclass(frozen=True, slots=True)
class Vector:
    """Elements of a symbol, a word of 16 elements of 16 bits a block.

    Attributes:
        symbol: all of it.
        first_block, elements: which part this is.
    """

    symbol: Symbol
    first_block: int
    elements: int

    @classmethod
    def named(cls, name: str, elements: int) -> Vector:
        """Give all of a new symbol.

        >>> Vector.named("y", 40).blocks
        3
        """
        return cls(Symbol(name, -(-elements // BLOCK)), 0, elements)

    @property
    def name(self) -> str:
        """That of the symbol."""
        return self.symbol.name

    @property
    def blocks(self) -> int:
        """Words of this part."""
        return -(-self.elements // BLOCK)

    def part(self, first_block: int, blocks: int) -> Vector:
        """Some of its blocks; the last may hold fewer than 16 elements."""
        elements = min(blocks * BLOCK, self.elements - first_block * BLOCK)
        return Vector(self.symbol, self.first_block + first_block, elements)


@dataclass(frozen=True, eq=False)
class Weights:
    """The shape of a matrix off chip, with the outputs' constants.

    Attributes:
        outputs, inputs: of the matrix.
        bits: of a code.
        kept: weights an output keeps in each block, int64 [groups of 16 outputs, K blocks]; None
            keeps all and stores no masks.
        traffic: what its loads count as.
        newest: of keys and values: the vector that the host puts beside those of the cache.
    """

    name: str
    outputs: int
    inputs: int
    bits: int
    kept: NDArray[np.int64] | None = field(default=None, repr=False)
    traffic: Traffic = "weight_bytes"
    newest: str = ""

    def __post_init__(self) -> None:
        if self.kept is not None and self.kept.shape != (self.groups, self.k_blocks):
            raise SpecError(
                "not a count a block of 16 x 16 weights", where=self.name, got=self.kept.shape,
                expected=f"({self.groups}, {self.k_blocks})",
            )  # fmt: skip

    @property
    def groups(self) -> int:
        """Groups of 16 outputs."""
        return -(-self.outputs // BLOCK)

    @property
    def k_blocks(self) -> int:
        """Blocks of 16 inputs."""
        return -(-self.inputs // BLOCK)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Kept weights, also of a matrix that keeps all."""
        if self.kept is not None:
            return self.kept
        return np.full((self.groups, self.k_blocks), BLOCK, np.int64)

    @cached_property
    def code_words(self) -> NDArray[np.int64]:
        """Words of the codes of every group [groups]."""
        return code_words(self.counts, self.bits)

    @cached_property
    def codes(self) -> Symbol:
        """The kept weights, group after group."""
        return Symbol(f"{self.name}.codes", int(self.code_words.sum()), self.traffic)

    @cached_property
    def masks(self) -> Symbol:
        """A word a block: where its kept weights are."""
        return Symbol(f"{self.name}.masks", self.groups * self.k_blocks, self.traffic)

    @cached_property
    def numbers(self) -> Symbol:
        """For the FSB: a byte a block, how many it keeps, each group from a word's begin."""
        return Symbol(f"{self.name}.kept", self.groups * count_words(self.k_blocks), self.traffic)

    @cached_property
    def channels(self) -> Symbol:
        """Bias, multiplier and shift of every output."""
        return Symbol(f"{self.name}.channels", self.groups * BLOCK // CHANNELS_A_WORD, self.traffic)


@dataclass(frozen=True, slots=True)
class Multiply:
    """Rows times some groups of outputs of a matrix.

    Attributes:
        rows: one, or those of a tile, as many as the core has.
        first_group: of ``weights``, the first that is computed; ``out`` says how many.
        out: results; of MM [groups, rows, 16 outputs].
        is_int8: results are saturated to 8 bits, else to 16.
        is_tile: MM, not MV.
    """

    weights: Weights
    rows: tuple[Vector, ...]
    out: Vector
    is_int8: bool
    first_group: int = 0
    is_tile: bool = False

    @property
    def groups(self) -> range:
        """The groups of outputs."""
        return range(self.first_group, self.first_group + self.out.blocks // len(self.rows))


@dataclass(frozen=True, slots=True)
class Special:
    """A special function.

    Attributes:
        right: second operand, of the operations that have one.
        constants: its multipliers and shifts, one word.
        head_blocks: blocks of a head whose halves of ``left`` are exchanged on loading; 0 = none.
    """

    operation: MiscOperation
    left: Vector
    right: Vector | None
    out: Vector
    constants: Symbol
    is_int8: bool
    head_blocks: int = 0


@dataclass(frozen=True, eq=False)
class CoreUnit:
    """What a core does between two joins of its queues.

    Attributes:
        name: of the unit.
        task: what it computes.
        program: its instructions without the SYS at the end; an address counts from its symbol.
        symbols: what `relocations` counts in.
        relocations: index of each instruction's symbol, -1 where it moves nothing [instructions].
        op, part, head: the op of the model, which of its steps, and for which head.
        row: the op's row in the workload.
    """

    name: str
    task: Multiply | Special
    program: Program = field(repr=False)
    symbols: tuple[Symbol, ...] = field(repr=False)
    relocations: NDArray[np.int64] = field(repr=False)
    op: str = ""
    part: str = ""
    head: int = 0
    row: int = 0

    @classmethod
    def of(
        cls, name: str, task: Multiply | Special, rows: Sequence[dict[str, Any]], **origin: Any
    ) -> CoreUnit:
        """Collect instructions given as mappings, each with its ``symbol`` where it moves words."""
        symbols = tuple(
            {row["symbol"].name: row["symbol"] for row in rows if "symbol" in row}.values()
        )
        index = {symbol.name: number for number, symbol in enumerate(symbols)}
        relocations = [index[row["symbol"].name] if "symbol" in row else -1 for row in rows]
        bare = [{key: row[key] for key in row if key != "symbol"} for row in rows]
        program = Program.of_columns(bare, (name,))
        return cls(name, task, program, symbols, np.array(relocations), **origin)

    @cached_property
    def traffic(self) -> dict[Traffic, int]:
        """Bytes that its loads and stores move."""
        program = self.program
        sizes = program["length"].astype(np.int64)
        for axis in ("1d", "2d", "3d"):
            sizes = sizes * program.loops(axis)
        found: dict[Traffic, int] = {}
        for index, symbol in enumerate(self.symbols):
            moved = int(sizes[self.relocations == index].sum())
            found[symbol.traffic] = found.get(symbol.traffic, 0) + moved
        return found

    def linked(self, addresses: dict[str, int]) -> Program:
        """Give the instructions with real addresses.

        Args:
            addresses: of every symbol, in words.
        """
        bases = np.array([*(addresses[s.name] for s in self.symbols), 0], np.int64) * WORD_BYTES
        address = self.program["address"] + bases[self.relocations]
        return Program({**self.program.columns, "address": address}, self.program.units)


def port_words(program: Program) -> int:
    """Words of the memory port that instructions take."""
    return -(-program.words * INSTRUCTION_WORD_BYTES // WORD_BYTES)


def segments(units: Iterable[tuple[str, Program]], core: VerilogCore) -> tuple[Program, ...]:
    """Join units while they fit the instruction buffer; a segment waits for none of another.

    Args:
        units: name and instructions, in their order; the ``unit`` of an instruction counts in the
            names of its segment.
    """
    parts: list[list[tuple[str, Program]]] = []
    used = 0
    for name, program in units:
        words = program.words + INSTRUCTION_WORDS[Queue.SYS]
        if words > core.segment_words:
            raise SpecError(
                "a unit's instructions do not fit the instruction buffer", where=name,
                got=f"{words} words", expected=f"at most {core.segment_words}",
            )  # fmt: skip
        if not parts or used + words > core.segment_words:
            parts.append([])
            used = 0
        parts[-1].append((name, program))
        used += words
    if not parts:
        raise SpecError("a program without units", where="program")
    return tuple(whole(part).verify() for part in parts)
