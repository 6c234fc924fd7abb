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
    """One case item for every entry that is not the zero of the default, entries alike together."""
    width = table.address_bits
    groups: dict[tuple[int, int, int], list[int]] = {}
    for address, entry in enumerate(
        zip(table.sign.tolist(), table.man.tolist(), table.exponent.tolist(), strict=True)
    ):
        if entry[1]:
            groups.setdefault(entry, []).append(address)
    lines = []
    for (sign, man, exponent), addresses in sorted(groups.items()):
        literals = [f"{width}'d{address}" for address in addresses]
        rows = [", ".join(literals[i : i + 8]) for i in range(0, len(literals), 8)]
        value = f"{{1'b{sign}, 1'b{man}, {table.exponent_bits}'d{exponent}}}"
        lines.append(",\n      ".join(rows) + f":\n        decode_term = {value};")
    return lines
