"""Reads what the generator must know of the Verilog library: parameters, enums, compile order."""

from __future__ import annotations

import re
from pathlib import Path

from plait.errors import SpecError

__all__ = ["LIBRARY", "compile_order", "enum_names", "error_names", "parameter_names"]

LIBRARY = Path(__file__).resolve().parents[1] / "rtl"

_PARAMETER = re.compile(r"^\s*parameter\s+(?:int\s+unsigned|bit|logic\b[^=]*?)\s+(\w+)\s*=", re.M)


def parameter_names(source: str) -> list[str]:
    """Names of a module's parameters, in order.

    >>> parameter_names("module m #(\\n  parameter int unsigned Rows = 8\\n) (input logic clk_i);")
    ['Rows']
    """
    return _PARAMETER.findall(source)


def enum_names(source: str, enum: str, prefix: str) -> tuple[str, ...]:
    """Names of an enum's values in order of their numbers, without their prefix, in lower case.

    >>> source = "typedef enum logic [1:0] {StateIdle = 2'd0, StateNextTile = 2'd1} state_e;"
    >>> enum_names(source, "state_e", "State")
    ('idle', 'next_tile')
    """
    plain = re.sub(r"//[^\n]*", "", source)
    found = re.search(rf"enum[^{{;]*{{([^}}]*)}}\s*{enum}\s*;", plain)
    if not found:
        raise SpecError(f"the Verilog has no enum {enum}")
    values = {}
    for position, item in enumerate(found[1].split(",")):
        name, _, number = item.strip().partition("=")
        place = int(number.split("'d")[-1]) if number else position
        words = re.findall("[A-Z][a-z0-9]*", name.strip().removeprefix(prefix))
        values[place] = "_".join(words).lower()
    return tuple(values[place] for place in range(len(values)))


def error_names(source: str) -> tuple[str, ...]:
    """Names of the error bits, lowest first, in plain words.

    >>> error_names("localparam int unsigned ERROR_NON_FINITE = 0;")
    ('non finite',)
    """
    found = re.findall(r"localparam\s+int\s+unsigned\s+ERROR_(\w+)\s*=\s*(\d+)", source)
    ordered = sorted(found, key=lambda item: int(item[1]))
    return tuple(name.replace("_", " ").lower() for name, _ in ordered)


def compile_order(file_list: Path) -> list[str]:
    """Paths of a .f file, relative to the library, leaves first."""
    lines = (line.split("//")[0].strip() for line in file_list.read_text().splitlines())
    return [line for line in lines if line]
