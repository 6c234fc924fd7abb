"""The binary of the sparse DSP core: round trips, the published layout, malformed words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.program import LAYOUT, decode, disassemble, encode
from plait.sim.compiler.instruction import (
    FIELD_BITS,
    INSTRUCTION_WORDS,
    Instruction,
    Program,
    Queue,
)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    queue = draw(st.sampled_from(Queue))
    values = {
        name: draw(st.integers(0, (1 << bits[queue]) - 1))
        for name, bits in FIELD_BITS.items()
        if queue in bits
    }
    others = (1 << len(Queue)) - 1 - (1 << queue)
    masks = {name: draw(st.integers(0, 63)) & others for name in ("wait", "release")}
    return Instruction(queue, **masks, **values)


@given(st.lists(instructions(), min_size=1, max_size=6))
@settings(deadline=None)
def test_round_trip(rows: list[Instruction]) -> None:
    program = Program.of(rows)
    binary = encode(program)
    assert decode(binary).encoded_equal(program)
    assert len(binary) == program.words
    assert encode(decode(binary)).tolist() == binary.tolist()
    assert len(disassemble(program).splitlines()) == len(rows)


def test_fields_neither_overlap_nor_differ_from_the_program() -> None:
    for queue, fields in LAYOUT.items():
        taken = np.zeros((INSTRUCTION_WORDS[queue], 32), int)
        taken[0, 18:] += 1  # opcode, wait, release
        for pieces in fields.values():
            for piece in pieces:
                taken[piece.word, piece.low : piece.low + piece.bits] += 1
        assert taken.max() == 1, queue
        widths = {name: sum(piece.bits for piece in pieces) for name, pieces in fields.items()}
        assert widths == {name: b[queue] for name, b in FIELD_BITS.items() if queue in b}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        # opcode 1, wait MV (third of ST MM MV MISC SYS), release MISC; mode A, channel 7, entry 5
        (
            Instruction(
                Queue.LD, wait=1 << Queue.MV, release=1 << Queue.MISC, mode=4, channel=7,
                bank_address=5, stride_1d=1, stride_2d=2, stride_3d=4, address=(1 << 34) - 1,
                loops_1d=1, loops_2d=2, loops_3d=3, zero_fill=1, memory=1, length=64,
            ),
            [0x120A7005, 1, 8, 64, 0xFFFFFFC0, 0x030201FF, 1 << 25 | 1 << 23 | 64],
        ),
        (
            Instruction(
                Queue.MM, k_blocks=3, output=1, bias=1, meta_address=1, fsb_address=2,
                bias_address=0x123, a_address=4, b_address=5, out_address=6, weight_format=1,
            ),
            [0x30000000 | 3 << 4 | 12, 0x23001002, 4 << 16 | 5 << 4 | 1, 6 | 1 << 12],
        ),
        (
            Instruction(Queue.MISC, a_address=1, b_address=2, out_address=3, operation=4,
                        k_blocks=5, constants=6),
            [0x50000000 | 1 << 6 | 4, 2 << 20 | 3 << 8, 5 << 18 | 6],
        ),
        (
            Instruction(Queue.ST, wait=1 << Queue.MISC, bank_address=3, loops_1d=1, by_column=1,
                        address=1 << 33, memory=1, channel=2, length=9),
            [0x20000000 | 0b00010 << 23 | 3 << 6 | 1 << 1 | 1, 0, 1 << 28 | 2 << 25 | 9 << 2 | 2],
        ),
        (Instruction(Queue.SYS, wait=1 << Queue.ST, release=1), [0xF4400000]),
    ],
    ids=["ld", "mm", "misc", "st", "sys"],
)  # fmt: skip
def test_words_of_the_published_layout(one: Instruction, words: list[int]) -> None:
    assert [hex(w) for w in encode(Program.of([one]))] == [hex(w) for w in words]


@pytest.mark.parametrize(
    ("binary", "named"),
    [
        ([0xF0000000, 0x70000000], r"instruction 1 \(word 1\): unknown opcode, got 7"),
        ([0x10000000, 0], r"instruction 0 \(LD\): the binary ends inside an instruction"),
        ([0xF0000001], r"instruction 0 \(SYS\): bits outside every field are set in word 0"),
    ],
)
def test_malformed_words_are_named(binary: list[int], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        decode(np.array(binary, np.uint32))


def test_a_field_too_large_is_named() -> None:
    with pytest.raises(SpecError, match=r"instruction 0 \(MISC\): operation out of range, got 16"):
        encode(Program.of([Instruction(Queue.MISC, operation=16)]))
