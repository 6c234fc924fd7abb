"""Memory files: one hexadecimal word a line, as Verilog's $readmemh reads them.

`@` and a hexadecimal address start a block; the words after it follow each other. Blank lines and
`//` comments are ignored.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError

__all__ = ["mem_text", "read_mem"]


def mem_text(blocks: Mapping[int, NDArray[np.uint8]]) -> str:
    """Write blocks {address: uint8 [words, bytes a word]} as text; byte 0 is a word's lowest.

    >>> print(mem_text({16: np.array([[0x34, 0x12], [0xFF, 0x00]], np.uint8)}), end="")
    @10
    1234
    00ff
    """
    parts = []
    for address, words in blocks.items():
        digits = np.ascontiguousarray(words[:, ::-1]).tobytes().hex()
        width = 2 * words.shape[1]
        lines = (digits[at : at + width] for at in range(0, len(digits), width))
        parts.append(f"@{address:x}\n" + "".join(f"{line}\n" for line in lines))
    return "".join(parts)


def read_mem(path: Path, port_bytes: int) -> dict[int, NDArray[np.uint8]]:
    """Read a memory file back: {address: uint8 [words, port bytes]}.

    A line that is no word of the port, and blocks that overlap, are refused by line number.
    """
    lines: list[str] = []
    blocks = [(0, lines)]
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text = raw.split("//")[0].strip()
        if text.startswith("@"):
            lines = []
            blocks.append((_number(text[1:], path, number), lines))
        elif text:
            if len(text) != 2 * port_bytes:
                raise SpecError(
                    "not a word of the memory port",
                    where=f"{path.name}:{number}",
                    got=text,
                    expected=f"{2 * port_bytes} hexadecimal digits",
                )
            _number(text, path, number)
            lines.append(text)
    filled = sorted((address, words) for address, words in blocks if words)
    for (before, words), (address, _) in itertools.pairwise(filled):
        if address < before + len(words):
            raise SpecError(f"blocks overlap at address {address:#x}", where=path.name)
    return {
        address: np.frombuffer(bytes.fromhex("".join(words)), np.uint8)
        .reshape(-1, port_bytes)[:, ::-1]
        .copy()
        for address, words in filled
    }


def _number(text: str, path: Path, line: int) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise SpecError("not a hexadecimal number", where=f"{path.name}:{line}", got=text) from None
