"""`plait disassemble`: programs of both families as text, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.hwgen.generate import design_of
from plait.hwgen.listing import listing
from plait.hwgen.mem_file import mem_text
from plait.hwgen.sparse_dsp.example import example
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
        ((1, 3, 0x70), r"p.mem: instruction 0 \(word 0\): unknown opcode, got 7"),
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
