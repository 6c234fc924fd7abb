"""A program as it lies in a memory file, as text: what `plait disassemble` prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.files import reason
from plait.hwgen.bit_serial import program as bit_serial
from plait.hwgen.generate import MANIFEST
from plait.hwgen.mem_file import read_mem
from plait.hwgen.sparse_dsp import program as sparse_dsp
from plait.hwgen.sparse_dsp.ends import check_segments
from plait.hwgen.sparse_dsp.link import SEGMENT_MAGIC
from plait.sim.compiler.instruction import Program

__all__ = ["listing"]

_HEADER = 4  # 32-bit words of a segment's header in use


def listing(path: str | Path, is_checked: bool = True) -> str:
    """Disassemble the program that begins at address 0 of a memory file (program.mem).

    Descriptors of the bit-serial machine and segments of the sparse DSP machine are told apart by
    their magic numbers. Segments are checked, too: tokens, addresses off chip, and those on chip
    where the manifest of `plait generate` lies beside the file.

    Args:
        is_checked: refuse segments that would not run to their end.
    """
    path = Path(path)
    blocks = read_mem(path, _port_bytes(path))
    if 0 not in blocks:
        raise SpecError("no program begins at address 0", where=path.name)
    image = blocks[0]
    try:
        if _words(image[:1])[0] == SEGMENT_MAGIC:
            segments = _segments(image)
            if is_checked:
                end = max(address + len(words) for address, words in blocks.items())
                check_segments(segments, end, _parameters(path.with_name(MANIFEST)))
            return _listed(segments)
        return bit_serial.disassemble(bit_serial.decode(image))
    except SpecError as error:
        raise SpecError(str(error), where=path.name) from None


def _segments(image: NDArray[np.uint8]) -> list[Program]:
    found: list[Program] = []
    at = 0
    while True:
        header = _words(image[at : at + 1]) if at < len(image) else [0] * _HEADER
        magic, size, words, is_last = header[:_HEADER]
        if magic != SEGMENT_MAGIC or at + 1 + size > len(image) or words > _words_in(image, size):
            raise SpecError(
                "not a segment of a program", where=f"word {at}", got=hex(magic),
                expected=hex(SEGMENT_MAGIC),
            )  # fmt: skip
        body = np.array(_words(image[at + 1 : at + 1 + size])[:words], np.uint32)
        try:
            found.append(sparse_dsp.decode(body))
        except SpecError as error:
            raise SpecError(str(error), where=f"segment {len(found)}") from None
        at += 1 + size
        if is_last & 1:
            return found


def _listed(segments: list[Program]) -> str:
    parts: list[str] = []
    count = 0
    for number, program in enumerate(segments):
        parts.append(f"segment {number}: {len(program)} instructions, from {count}")
        parts.append(sparse_dsp.disassemble(program))
        count += len(program)
    return "\n".join(parts)


def _parameters(manifest: Path) -> dict[str, int] | None:
    """Those of the core that the program was generated for, if the file says so."""
    try:
        found: dict[str, int] = json.loads(manifest.read_text())["parameters"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _words_in(image: NDArray[np.uint8], size: int) -> int:
    return size * image.shape[1] // 4


def _words(image: NDArray[np.uint8]) -> list[int]:
    return [int(word) for word in np.ascontiguousarray(image).view("<u4").reshape(-1)]


def _port_bytes(path: Path) -> int:
    """Half the digits of the first word."""
    try:
        for raw in path.read_text().splitlines():
            text = raw.split("//")[0].strip()
            if text and not text.startswith("@"):
                return max(4, len(text) // 2)
    except OSError as error:
        raise SpecError(f"cannot be read: {reason(error)}", where=str(path)) from None
    raise SpecError("no words", where=path.name)
