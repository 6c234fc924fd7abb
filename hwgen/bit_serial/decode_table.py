"""Formats -> the one table that the term decoder of the bit-serial array reads.

Every format gets a block of the table of ``2**(selector bits + term bits + code bits)`` entries, at
a multiple of its own size, so that an address is a concatenation and needs no adder:
``prefix | selector | term | code``. All entries come from ``Format.terms()``, so a new grid needs
no new Verilog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format, Terms
from plait.models.formats.olive import OutlierVictimFormat

__all__ = ["MAX_CODE_BITS", "MAX_SELECTOR_BITS", "Block", "DecodeTable", "decode_table"]

MAX_CODE_BITS = 8
MAX_SELECTOR_BITS = 2
MAX_TERM_EXPONENT = 8  # 6-bit exponents in the PE: activation (30), term, growth of the sum


@dataclass(frozen=True, slots=True)
class Block:
    """One format's part of the table.

    Attributes:
        base: address of its first entry.
        selector_bits, term_bits, code_bits: widths of the fields of an address, high to low.
    """

    format: Format
    terms: Terms
    base: int
    selector_bits: int
    term_bits: int
    code_bits: int

    @property
    def address_bits(self) -> int:
        """Width of the address within the block."""
        return self.selector_bits + self.term_bits + self.code_bits


@dataclass(frozen=True, slots=True)
class DecodeTable:
    """The blocks in the order of the formats' indices, and the entries of all of them.

    Attributes:
        sign, man, exponent: uint8 [entries]; an entry that no address of a format reaches is 0.
    """

    blocks: tuple[Block, ...]
    sign: NDArray[np.uint8]
    man: NDArray[np.uint8]
    exponent: NDArray[np.uint8]

    @property
    def address_bits(self) -> int:
        """Width of an address."""
        return int(self.sign.size - 1).bit_length()

    @property
    def exponent_bits(self) -> int:
        """Width of an entry's exponent."""
        return max(1, int(self.exponent.max()).bit_length())

    @property
    def max_terms(self) -> int:
        """Terms of the longest format."""
        return max(block.terms.count for block in self.blocks)


def decode_table(names: Sequence[str]) -> DecodeTable:
    """Lay out the table of the formats ``names``; a format's index is its place in the list."""
    if len(set(names)) != len(names) or not names:
        raise FormatError("a list of different formats expected", got=list(names))
    sizes = [_fields(_hardware_format(name)) for name in names]
    bases = _aligned_bases([sum(fields) for fields in sizes])
    blocks = tuple(
        Block(formats.get(name), formats.get(name).terms(), base, *fields)
        for name, base, fields in zip(names, bases, sizes, strict=True)
    )
    used = max(block.base + (1 << block.address_bits) for block in blocks)
    entries = np.zeros((3, 1 << (used - 1).bit_length()), dtype=np.uint8)
    for block in blocks:
        entries[:, block.base : block.base + (1 << block.address_bits)] = _entries(block)
    return DecodeTable(blocks, *entries)


def _hardware_format(name: str) -> Format:
    fmt = formats.get(name)
    where = f"format {name}"
    if isinstance(fmt, OutlierVictimFormat):
        raise FormatError("the meaning of a code depends on its neighbour", where=where)
    if fmt.code_bits > MAX_CODE_BITS or fmt.selectors > 1 << MAX_SELECTOR_BITS:
        raise FormatError(
            "too wide for the array",
            where=where,
            expected=f"{MAX_CODE_BITS} bits a code and {1 << MAX_SELECTOR_BITS} grids at most",
        )
    terms = fmt.terms()
    if terms.shift.min() < 0 or terms.exp.max() > MAX_TERM_EXPONENT:
        raise FormatError(
            "terms out of the array's range",
            where=where,
            got=f"exponents up to {terms.exp.max()}, shifts from {terms.shift.min()}",
            expected=f"exponents up to {MAX_TERM_EXPONENT} and no negative shift",
        )
    return fmt


def _fields(fmt: Format) -> tuple[int, int, int]:
    return (fmt.selectors - 1).bit_length(), (fmt.term_count - 1).bit_length(), fmt.code_bits


def _aligned_bases(address_bits: list[int]) -> list[int]:
    """Largest block first: then every base is a multiple of its block's size."""
    bases, free = [0] * len(address_bits), 0
    for index in sorted(range(len(address_bits)), key=lambda i: (-address_bits[i], i)):
        bases[index] = free
        free += 1 << address_bits[index]
    return bases


def _entries(block: Block) -> NDArray[np.uint8]:
    """[3, 2**address_bits] sign, man and exponent in the order of the addresses."""
    shape = [1 << bits for bits in (block.selector_bits, block.term_bits, block.code_bits)]
    entries = np.zeros((3, *shape), dtype=np.uint8)
    selectors, _, count = block.terms.sign.shape
    for plane, field in zip(
        entries, (block.terms.sign, block.terms.man, block.terms.exp), strict=True
    ):
        plane[:selectors, :count] = field.transpose(0, 2, 1)
    return entries.reshape(3, -1)
