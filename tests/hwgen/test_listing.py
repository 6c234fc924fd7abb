"""`plait disassemble`: programs of both families as text, and what is none."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from plait.cli import main
from plait.errors import SpecError
from plait.hwgen.generate import design_of
from plait.hwgen.listing import listing
from plait.hwgen.mem_file import mem_text
from plait.hwgen.sparse_dsp.example import example
from plait.hwgen.sparse_dsp.link import SEGMENT_MAGIC
from plait.hwgen.sparse_dsp.program import encode
from plait.sim.compiler.instruction import Instruction, LoadTarget, Program, Queue
from plait.sim.spec import load_accelerator


@pytest.fixture(scope="module")
def image():
    return example(design_of(load_accelerator("flightllm-small"))).image


def test_segments_are_listed(image, tmp_path) -> None:
    (tmp_path / "program.mem").write_text(mem_text(image.blocks))
    lines = listing(tmp_path / "program.mem").splitlines()
    assert lines[0] == f"segment 0: {len(image.program)} instructions, from 0"
    assert len(lines) == 1 + len(image.program)
    assert "operation softmax" in "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ((0, 0, 1), r"p.mem: descriptor 0: bits outside"),
        ((1, 3, 0x70), r"p.mem: segment 0: instruction 0 \(word 0\): unknown opcode, got 7"),
        ((0, 5, 0xFF), r"p.mem: word 0: not a segment of a program"),
    ],
)
def test_broken_programs_are_named(image, tmp_path, change, named) -> None:
    word, byte, value = change
    words = image.blocks[0].copy()
    words[word, byte] = value
    (tmp_path / "p.mem").write_text(mem_text({0: words}))
    with pytest.raises(SpecError, match=named):
        listing(tmp_path / "p.mem")


def test_a_file_without_a_program_is_named(tmp_path) -> None:
    (tmp_path / "p.mem").write_text(mem_text({9: np.zeros((1, 32), np.uint8)}))
    with pytest.raises(SpecError, match=r"p.mem: no program begins at address 0"):
        listing(tmp_path / "p.mem")
    (tmp_path / "p.mem").write_text("")
    with pytest.raises(SpecError, match=r"p.mem: no words"):
        listing(tmp_path / "p.mem")
    with pytest.raises(SpecError, match="cannot be read"):
        listing(tmp_path / "missing.mem")


def mask(*queues: Queue) -> int:
    return sum(1 << queue for queue in queues)


LOADED = Instruction(Queue.LD, release=mask(Queue.MV), length=64)
USED = Instruction(Queue.MV, wait=mask(Queue.LD), k_blocks=1, output=1)
MALFORMED = {
    "a token never taken": (
        [LOADED, LOADED, USED],
        r"instruction 1 \(LD\): gives a token to MV that is never taken",
    ),
    "a token never given": (
        [LOADED, USED, USED],
        r"instruction 2 \(MV\): waits for ever for a token of LD.*no instruction left gives it",
    ),
    "a deadlock": (
        [
            Instruction(Queue.LD, wait=mask(Queue.MV), release=mask(Queue.MV), length=32),
            Instruction(Queue.MV, wait=mask(Queue.LD), release=mask(Queue.LD), k_blocks=1),
        ],
        r"instruction 0 \(LD\): waits for ever for a token of MV.*deadlock of LD, MV",
    ),
    "beyond the memory": (
        [Instruction(Queue.SYS), Instruction(Queue.ST, address=1 << 20, length=32)],
        r"instruction 1 \(ST\): address out of range, got 1048607, expected 0 to 95, bytes",
    ),
    "before the memory": (
        [Instruction(Queue.LD, length=32, loops_1d=2, stride_1d=(1 << 34) - 32)],
        r"instruction 0 \(LD\): address out of range, got -32, expected 0 to 95, bytes",
    ),
    "beyond a buffer": (
        [Instruction(Queue.LD, mode=LoadTarget.FSB, length=64, bank_address=15)],
        r"instruction 0 \(LD\): bank_address out of range, got 16, expected entries up to 15",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_program_that_would_not_end_is_one_line(case, tmp_path, capsys) -> None:
    rows, said = MALFORMED[case]
    code = encode(Program.of(rows))
    words = np.zeros((2 + len(code) // 8 + 1, 8), "<u4")
    words[0, :4] = SEGMENT_MAGIC, len(words) - 1, len(code), 1
    words[1:].reshape(-1)[: len(code)] = code
    (tmp_path / "p.mem").write_text(mem_text({0: words.view(np.uint8)}))
    parameters = design_of(load_accelerator("flightllm-small")).parameters
    (tmp_path / "manifest.json").write_text(json.dumps({"parameters": dict(parameters)}))
    assert main(["disassemble", str(tmp_path / "p.mem")]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: p.mem: segment 0: {said}.*\n", error)
    assert main(["disassemble", str(tmp_path / "p.mem"), "--unchecked"]) == 0
