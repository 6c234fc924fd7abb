"""Writes plait_bs_pkg.sv: types, constants and the term decoder of a list of formats."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from plait.hwgen.bit_serial.decode_table import (
    MAX_CODE_BITS,
    MAX_SELECTOR_BITS,
    Block,
    DecodeTable,
    decode_table,
)

__all__ = ["DEFAULT_FORMATS", "bit_serial_package"]

DEFAULT_FORMATS = (
    "bitmod3",
    "bitmod4",
    "int4",
    "int5",
    "int6",
    "int8",
    "flint4",
    "fp6-e2m3",
)
FORMAT_BITS = 4  # the descriptor's field
_ENTRIES_A_LINE = 16


def bit_serial_package(names: Sequence[str] = DEFAULT_FORMATS) -> str:
    """Give the text of the package; a format's index is its place in ``names``."""
    table = decode_table(names)
    environment = Environment(
        loader=PackageLoader("plait.hwgen"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    max_shift = max(int(block.terms.shift.max()) for block in table.blocks)
    return environment.get_template("plait_bs_pkg.sv.j2").render(
        table=table,
        formats=[_format_view(block, table) for block in table.blocks],
        entries=_entry_lines(table),
        max_shift=max_shift,
        format_bits=FORMAT_BITS,
        selector_bits=MAX_SELECTOR_BITS,
        code_bits=MAX_CODE_BITS,
        index_bits=max(1, (table.max_terms - 1).bit_length()),
        shift_bits=max(1, max_shift.bit_length()),
    )


def _format_view(block: Block, table: DecodeTable) -> dict[str, object]:
    """What the template says about one format."""
    fields = [
        _prefix(block, table.address_bits),
        *(
            f"{name}[{bits - 1}:0]"
            for name, bits in (
                ("selector", block.selector_bits),
                ("term_index", block.term_bits),
                ("code", block.code_bits),
            )
            if bits
        ),
    ]
    return {
        "name": block.format.name,
        "code_bits": block.format.code_bits,
        "terms": block.terms.count,
        "shifts": [int(shift) for shift in block.terms.shift],
        "address": "{" + ", ".join(field for field in fields if field) + "}",
    }


def _prefix(block: Block, address_bits: int) -> str:
    width = address_bits - block.address_bits
    return f"{width}'d{block.base >> block.address_bits}" if width else ""


def _entry_lines(table: DecodeTable) -> list[str]:
    """The table as a few literals a line, the highest address first; where a format starts, its
    name."""
    width, count = table.exponent_bits + 2, min(_ENTRIES_A_LINE, table.sign.size)
    entries = (
        (table.sign.astype(int) << (width - 1))
        | (table.man.astype(int) << (width - 2))
        | table.exponent
    )
    lines = []
    for start in range(table.sign.size - count, -1, -count):
        bits = sum(int(entries[start + i]) << (width * i) for i in range(count))
        literal = f"{width * count}'h{bits:0{-(-width * count // 4)}x}"
        names = [b.format.name for b in table.blocks if start <= b.base < start + count]
        note = f"  // {', '.join(names)}" if names else ""
        lines.append(literal + ("," if start else "") + note)
    return lines
