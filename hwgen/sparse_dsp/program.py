"""The binary of the sparse DSP core: encode, decode and disassemble a compiler's Program.

An instruction is 7 (LD), 3 (ST, MISC), 4 (MM, MV) or 1 (SYS) words of 32 bits; its first word holds
the opcode and the masks of the queues it waits for and releases. The layout is that of FlightLLM's
published programs (FPGA 2024, arXiv 2401.03868), in whose unused bits lie the fields of our own:
``weight_format`` of MM and MV, ``constants`` of MISC. `LAYOUT` is the only definition of the bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.compiler.instruction import (
    INSTRUCTION_WORDS,
    OPCODES,
    LoadTarget,
    MiscOperation,
    Program,
    Queue,
)

__all__ = ["LAYOUT", "Piece", "decode", "disassemble", "encode"]


class Piece(NamedTuple):
    """Where bits of a field lie: word of the instruction, lowest bit, how many."""

    word: int
    low: int
    bits: int


def _stream(first: int, widths: Mapping[str, int]) -> dict[str, tuple[Piece, ...]]:
    """Fields packed one behind the other, lowest bits first, from bit 0 of a word on."""
    at, found = 32 * first, {}
    for name, width in widths.items():
        pieces, left = [], width
        while left:
            bits = min(left, 32 - at % 32)
            pieces.append(Piece(at // 32, at % 32, bits))
            at, left = at + bits, left - bits
        found[name] = tuple(pieces)
    return found


_ADDRESS = 34
_MULTIPLY = {
    "k_blocks": (Piece(0, 4, 14),),
    "output": (Piece(0, 3, 1),),
    "bias": (Piece(0, 2, 1),),
    "relu": (Piece(0, 1, 1),),
    "sparse": (Piece(0, 0, 1),),
    "meta_address": (Piece(1, 12, 12),),
    "fsb_address": (Piece(1, 0, 12),),
    "bias_address": (Piece(1, 24, 8), Piece(2, 0, 4)),
    "a_address": (Piece(2, 16, 12),),
    "b_address": (Piece(2, 4, 12),),
    "out_address": (Piece(3, 0, 12),),
    "weight_format": (Piece(3, 12, 2),),
}

LAYOUT: Mapping[Queue, Mapping[str, tuple[Piece, ...]]] = {
    Queue.LD: {
        "mode": (Piece(0, 15, 3),),
        "channel": (Piece(0, 12, 3),),
        "bank_address": (Piece(0, 0, 12),),
        **_stream(
            1, dict.fromkeys(("stride_1d", "stride_2d", "stride_3d", "address"), _ADDRESS)
            | dict.fromkeys(("loops_1d", "loops_2d", "loops_3d"), 8)
        ),
        "zero_fill": (Piece(6, 25, 1),),
        "memory": (Piece(6, 23, 2),),
        "length": (Piece(6, 0, 23),),
    },
    Queue.ST: {
        "bank_address": (Piece(0, 6, 12),),
        "loops_1d": (Piece(0, 1, 5),),
        "by_column": (Piece(0, 0, 1),),
        "address": (Piece(1, 0, 32), Piece(2, 0, 2)),
        "memory": (Piece(2, 28, 2),),
        "channel": (Piece(2, 25, 3),),
        "length": (Piece(2, 2, 23),),
    },
    Queue.MM: _MULTIPLY,
    Queue.MV: _MULTIPLY,
    Queue.MISC: {
        "a_address": (Piece(0, 6, 12),),
        "mask": (Piece(0, 4, 2),),
        "operation": (Piece(0, 0, 4),),
        "b_address": (Piece(1, 20, 12),),
        "out_address": (Piece(1, 8, 12),),
        "k_blocks": (Piece(2, 18, 14),),
        "constants": (Piece(2, 0, 12),),
    },
    Queue.SYS: {},
}  # fmt: skip
"""Queue -> field -> its pieces, lowest bits first."""

_OPCODE, _WAIT, _RELEASE = Piece(0, 28, 4), Piece(0, 23, 5), Piece(0, 18, 5)
_BY_OPCODE = {code: queue for queue, code in OPCODES.items()}


def _others(queue: Queue) -> list[Queue]:
    """The queues a mask of five bits names, highest bit first."""
    return [other for other in Queue if other != queue]


def _to_mask(masks: NDArray[Any], queue: Queue) -> NDArray[np.uint32]:
    """Masks over all queues -> the five bits of the binary."""
    bits = np.zeros(len(masks), np.uint32)
    for place, other in enumerate(_others(queue)):
        bits |= (masks.astype(np.uint32) >> int(other) & 1) << (4 - place)
    return bits


def _from_mask(bits: NDArray[np.uint32], queue: Queue) -> NDArray[np.uint8]:
    masks = np.zeros(len(bits), np.uint8)
    for place, other in enumerate(_others(queue)):
        masks |= ((bits >> (4 - place) & 1) << int(other)).astype(np.uint8)
    return masks


def encode(program: Program) -> NDArray[np.uint32]:
    """Give the binary, uint32 [words]; the program is verified first.

    >>> from plait.sim.compiler.instruction import Instruction
    >>> [hex(word) for word in encode(Program.of([Instruction(Queue.SYS, wait=1 << Queue.ST)]))]
    ['0xf4000000']
    """
    program.verify()
    queues = program["queue"]
    sizes = np.array([INSTRUCTION_WORDS[queue] for queue in Queue])[queues]
    starts = np.cumsum(sizes) - sizes
    binary = np.zeros(int(sizes.sum()), np.uint32)
    for queue, fields in LAYOUT.items():
        chosen = np.flatnonzero(queues == queue)
        words = np.zeros((len(chosen), INSTRUCTION_WORDS[queue]), np.uint32)
        words[:, 0] = OPCODES[queue] << _OPCODE.low
        for piece, name in ((_WAIT, "wait"), (_RELEASE, "release")):
            words[:, 0] |= _to_mask(program[name][chosen], queue) << piece.low
        for name, pieces in fields.items():
            values = program[name][chosen].astype(np.uint64)
            for piece in pieces:
                part = values & np.uint64((1 << piece.bits) - 1)
                words[:, piece.word] |= part.astype(np.uint32) << piece.low
                values >>= np.uint64(piece.bits)
        binary[starts[chosen, None] + np.arange(INSTRUCTION_WORDS[queue])] = words
    return binary


def decode(binary: NDArray[np.uint32]) -> Program:
    """Undo `encode`; what the compiler notes beside the binary (work, path, unit) is lost.

    Raises:
        SpecError: an opcode there is not, a binary that ends inside an instruction, or bits outside
            every field, named by instruction and word.
    """
    starts, queues = _scan(binary)
    columns: dict[str, NDArray[Any]] = {"queue": queues}
    for queue, fields in LAYOUT.items():
        chosen = np.flatnonzero(queues == queue)
        words = binary[starts[chosen, None] + np.arange(INSTRUCTION_WORDS[queue])]
        _refuse_stray_bits(words, queue, chosen)
        masks = {"wait": _WAIT, "release": _RELEASE}
        values: dict[str, NDArray[Any]] = {
            n: _from_mask(_cut(words, p).astype(np.uint32), queue) for n, p in masks.items()
        }
        for name, pieces in fields.items():
            low, value = 0, np.zeros(len(chosen), np.int64)
            for piece in pieces:
                value |= _cut(words, piece) << low
                low += piece.bits
            values[name] = value
        for name, value in values.items():
            columns.setdefault(name, np.zeros(len(queues), value.dtype))[chosen] = value
    return Program({name: v for name, v in columns.items() if name == "queue" or v.any()})


def _cut(words: NDArray[np.uint32], piece: Piece) -> NDArray[np.int64]:
    return words[:, piece.word].astype(np.int64) >> piece.low & ((1 << piece.bits) - 1)


def _scan(binary: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each instruction starts, and its queue."""
    opcodes = (binary >> _OPCODE.low).tolist()
    starts: list[int] = []
    queues: list[int] = []
    at = 0
    while at < len(opcodes):
        if opcodes[at] not in _BY_OPCODE:
            raise SpecError(
                "unknown opcode",
                where=f"instruction {len(starts)} (word {at})",
                got=opcodes[at],
                expected=", ".join(f"{code} {queue.name}" for code, queue in _BY_OPCODE.items()),
            )
        queue = _BY_OPCODE[opcodes[at]]
        if at + INSTRUCTION_WORDS[queue] > len(opcodes):
            raise SpecError(
                "the binary ends inside an instruction",
                where=f"instruction {len(starts)} ({queue.name})",
                got=f"{len(opcodes) - at} words",
                expected=f"{INSTRUCTION_WORDS[queue]}",
            )
        starts.append(at)
        queues.append(int(queue))
        at += INSTRUCTION_WORDS[queue]
    return np.array(starts, np.int64), np.array(queues, np.uint8)


def _refuse_stray_bits(words: NDArray[np.uint32], queue: Queue, chosen: NDArray[np.intp]) -> None:
    """Refuse bits that no field owns: they would be lost on the way back."""
    owned = np.zeros(INSTRUCTION_WORDS[queue], np.uint32)
    for piece in (_OPCODE, _WAIT, _RELEASE, *(p for ps in LAYOUT[queue].values() for p in ps)):
        owned[piece.word] |= np.uint32(((1 << piece.bits) - 1) << piece.low)
    stray = words & ~owned
    if stray.any():
        row, word = (int(place[0]) for place in np.nonzero(stray))
        raise SpecError(
            f"bits outside every field are set in word {word}",
            where=f"instruction {int(chosen[row])} ({queue.name})",
            got=hex(int(stray[row, word])),
        )


def disassemble(program: Program) -> str:
    """Say in text what a program does, an instruction a line.

    >>> from plait.sim.compiler.instruction import Instruction
    >>> one = Instruction(Queue.MV, wait=1 << Queue.LD, k_blocks=36, output=1)
    >>> disassemble(Program.of([one]))
    '     0  MV    wait LD    k_blocks 36, output 1'
    """
    return "\n".join(_line(index, program) for index in range(len(program)))


def _line(index: int, program: Program) -> str:
    one = program.instruction(index)
    parts = [
        f"{word} {'+'.join(q.name for q in Queue if getattr(one, word) >> q & 1)}"
        for word in ("wait", "release")
        if getattr(one, word)
    ]
    shown = {name: getattr(one, name) for name in LAYOUT[one.queue]}
    if one.queue == Queue.LD:
        shown["mode"] = _name(LoadTarget, one.mode)
    if one.queue == Queue.MISC:
        shown["operation"] = _name(MiscOperation, one.operation)
    addresses = ("address", "stride_1d", "stride_2d", "stride_3d")
    fields = ", ".join(
        f"{name} {value:#x}" if name in addresses else f"{name} {value}"
        for name, value in shown.items()
        if value
    )
    return f"{index:6d}  {one.queue.name:5s} {'  '.join([*parts, '', fields]):s}".rstrip()


def _name(enum: type[LoadTarget] | type[MiscOperation], value: int) -> str | int:
    known = {int(member): member.name.lower() for member in enum}
    return known.get(value, value)
