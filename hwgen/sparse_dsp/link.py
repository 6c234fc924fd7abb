"""The linker: relocatable units of the compiler and the words of their operands -> an Image.

It cuts the program into segments, lays symbols out behind it, each at a place of its own, puts real
addresses into the instructions and encodes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.core import WORD_BYTES, VerilogCore
from plait.sim.compiler.instruction import Program
from plait.sim.compiler.relocatable import CoreUnit, Symbol, Vector, port_words, segments

__all__ = ["SEGMENT_MAGIC", "Image", "link"]

SEGMENT_MAGIC = 0x31445350  # "PSD1"


@dataclass(frozen=True, slots=True)
class Image:
    """What the host puts into memory.

    Args:
        blocks: {address: uint8 [words, 32]}; the program begins at address 0.
        segments: the instructions, as they are loaded.
        words: of the memory in use.
        addresses: of every symbol, in words.
    """

    blocks: Mapping[int, NDArray[np.uint8]] = field(repr=False)
    segments: tuple[Program, ...]
    words: int
    addresses: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def program(self) -> Program:
        """All instructions."""
        return Program.join(self.segments)

    def address_of(self, vector: Vector) -> int:
        """Where a vector lies."""
        return self.addresses[vector.name] + vector.first_block


def link(
    units: Sequence[CoreUnit], operands: Mapping[str, NDArray[np.uint8]], core: VerilogCore
) -> Image:
    """Give units their memory.

    Args:
        units: in their order.
        operands: symbol -> its words, uint8 [words, 32], of all that no unit writes.

    Raises:
        SpecError: an operand that is missing or of another size than the units take it for.
    """
    symbols = _symbols(units)
    parts = segments([(unit.name, unit.program) for unit in units], core)
    base = sum(port_words(part) + 1 for part in parts)  # a header each
    written = {unit.task.out.name for unit in units}
    addresses, blocks, at = {}, {}, base
    for name, symbol in symbols.items():
        addresses[name] = at
        blocks[at] = _words_of(symbol, operands, name in written)
        at += symbol.words
    linked = segments([(unit.name, unit.linked(addresses)) for unit in units], core)
    return Image({0: _text(linked, base)} | blocks, linked, at, addresses)


def _symbols(units: Sequence[CoreUnit]) -> dict[str, Symbol]:
    """By name, in the order of their first use."""
    found: dict[str, Symbol] = {}
    for symbol in (symbol for unit in units for symbol in unit.symbols):
        known = found.setdefault(symbol.name, symbol)
        if known.words != symbol.words:
            raise SpecError(
                "two sizes of one symbol", where=symbol.name, got=f"{symbol.words} words",
                expected=f"{known.words}",
            )  # fmt: skip
    return found


def _words_of(
    symbol: Symbol, operands: Mapping[str, NDArray[np.uint8]], is_written: bool
) -> NDArray[np.uint8]:
    if is_written:
        return np.zeros((symbol.words, WORD_BYTES), np.uint8)
    if symbol.name not in operands:
        raise SpecError("an operand without values", where=symbol.name)
    words = operands[symbol.name]
    if len(words) != symbol.words:
        raise SpecError(
            "an operand is not as large as the program takes it for", where=symbol.name,
            got=f"{len(words)} words", expected=f"{symbol.words}",
        )  # fmt: skip
    return words


def _text(parts: Sequence[Program], size: int) -> NDArray[np.uint8]:
    """Segments as words: each a header, then its instructions."""
    text = np.zeros((size, WORD_BYTES), np.uint8)
    at = 0
    for index, part in enumerate(parts):
        words, binary = port_words(part), encode(part).astype("<u4")
        header = [SEGMENT_MAGIC, words, len(binary), int(index == len(parts) - 1)]
        text[at, : 4 * len(header)] = np.array(header, "<u4").view(np.uint8)
        body = text[at + 1 : at + 1 + words].reshape(-1)
        body[: binary.nbytes] = binary.view(np.uint8)
        at += 1 + words
    return text
