"""The linker: symbols at places of their own, addresses inside the memory, segments that end."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.checked import CheckedProgram
from plait.hwgen.sparse_dsp.ends import check_segments
from plait.hwgen.sparse_dsp.example import random_channels, random_matrix
from plait.hwgen.sparse_dsp.link import Image, link
from plait.hwgen.sparse_dsp.operands import read_vector, vector_image
from plait.hwgen.sparse_dsp.parameters import core_parameters
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.core import core_of
from plait.sim.compiler.core_units import special_unit
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.compiler.relocatable import Special, Symbol, Vector
from plait.sim.families.memory_port import Memory
from plait.sim.families.sparse_dsp_verilog import run_units
from plait.sim.spec import load_accelerator

SMALL = load_accelerator("flightllm-small")
CORE = core_of(SMALL)


def linear_program(outputs: int, inputs: int, **changes: int) -> CheckedProgram:
    rng = np.random.default_rng(3)
    program = CheckedProgram(dataclasses.replace(CORE, **changes))
    matrix = random_matrix(rng, outputs, inputs, 4)
    row = program.vector(rng.integers(-128, 128, inputs))
    program.multiply("linear", matrix, random_channels(rng, outputs, True), [row])
    return program


def places(image: Image) -> list[tuple[int, int]]:
    """Begin and end of everything in memory, in order."""
    return sorted((at, at + len(words)) for at, words in image.blocks.items())


@pytest.mark.parametrize(
    ("outputs", "inputs", "changes", "named"),
    [
        (16, 512, {"a_bank_entries": 1}, r"buffers.a_entries, got .*, expected at most 4"),
        (16, 512, {"meta_entries": 31}, "buffers.meta_entries, got '32 words"),
        (16, 512, {"b_entries": 31}, "buffers.b_entries, got '32 words"),
        (16, 544, {"fsb_entries": 1}, "buffers.fsb_entries, got '2 words"),
        (64, 32, {"bias_entries": 8}, "buffers.bias_entries, got '16 words"),
        (640, 32, {"global_entries": 8}, "buffers.global_entries, got '40 words"),
    ],
)
def test_what_does_not_fit_the_buffers_is_named(outputs, inputs, changes, named) -> None:
    with pytest.raises(SpecError, match=f"linear: does not fit {named}"):
        linear_program(outputs, inputs, **changes)


def test_a_unit_longer_than_the_instruction_buffer_is_named() -> None:
    with pytest.raises(SpecError, match="linear: a unit's instructions do not fit"):
        linear_program(640, 32, segment_entries=2).image()


def test_everything_has_a_place_of_its_own_and_programs_end() -> None:
    program = linear_program(100, 96, meta_entries=12, segment_entries=26)
    vector = program.vector(np.arange(40))
    program.misc("silu", MiscOperation.SILU, vector, None, Constants())
    image = program.image()
    assert len(image.segments) == 2
    found = places(image)
    assert found[0][0] == 0
    assert found[-1][1] == image.words
    assert all(end == begin for (_, end), (begin, _) in pairwise(found))
    check_segments(image.segments, image.words, core_parameters(SMALL))
    at = image.address_of(vector)
    assert read_vector(image.blocks[at], 40).tolist() == list(range(40))


def test_operands_that_do_not_fit_the_program_are_named() -> None:
    vectors = [Vector.named(name, 40) for name in ("left", "right", "sum")]
    task = Special(MiscOperation.ADD, *vectors, Symbol("constants", 1), is_int8=False)
    units = [special_unit(CORE, "add", task)]
    words = vector_image(np.arange(40))
    operands = {"left": words, "right": words, "constants": words[:1]}
    image = link(units, operands, CORE)
    assert image.addresses["left"] - image.addresses["constants"] == 1
    with pytest.raises(SpecError, match="right: an operand without values"):
        link(units, {"left": words, "constants": words[:1]}, CORE)
    with pytest.raises(SpecError, match=r"left: an operand is not as large .*got '1 words'"):
        link(units, operands | {"left": words[:1]}, CORE)


@pytest.mark.slow
def test_longer_memories_take_longer_and_stalls_more() -> None:
    units = linear_program(100, 96).units
    plain = run_units(units, CORE).times
    assert run_units(units, CORE, Memory(20)).times.cycles > plain.cycles
    assert run_units(units, CORE, Memory(8, 1 << 30, 5)).times.cycles > plain.cycles
    assert (plain.ends >= plain.starts).all()
    assert 0 < plain.fetch_cycles < plain.cycles
