"""Weights, constants and vectors as words of memory: round trips, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.hwgen.generate import design_of
from plait.hwgen.sparse_dsp.assemble import Assembler, channel_image, read_vector, vector_image
from plait.hwgen.sparse_dsp.constants import decode_constants, encode_constants
from plait.hwgen.sparse_dsp.layer import channels_of, pruned, ratio
from plait.hwgen.sparse_dsp.weights import KEPT, SparseMatrix, group_image, read_group
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.instruction import MiscOperation, Queue
from plait.sim.families.sparse_dsp_schedule import schedule
from plait.sim.spec import load_accelerator
from plait.sim.timeline.engine import run

PARAMETERS = design_of(load_accelerator("flightllm-small")).parameters


def draw(seed: int, outputs: int, inputs: int, bits: int) -> SparseMatrix:
    rng = np.random.default_rng(seed)
    mask = np.zeros((outputs, inputs), bool)
    for group in range(0, outputs, 16):
        for block in range(0, inputs, 16):
            width = min(16, inputs - block)
            kept = rng.choice([n for n in KEPT if n <= width])
            for row in range(group, min(outputs, group + 16)):
                mask[row, block + rng.permutation(width)[:kept]] = True
    limit = 1 << (bits - 1)
    codes = np.where(mask, rng.integers(-limit, limit, mask.shape), 0)
    return SparseMatrix(codes.astype(np.int8), mask, bits)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 70), st.sampled_from([8, 4, 3, 2]))
@settings(deadline=None, max_examples=40)
def test_weights_round_trip(seed: int, outputs: int, inputs: int, bits: int) -> None:
    matrix = draw(seed, outputs, inputs, bits)
    for group in range(matrix.groups):
        codes, masks, kept = group_image(matrix, group)
        rows = slice(16 * group, min(16 * group + 16, outputs))
        values, mask = read_group(codes, masks, bits)
        count = rows.stop - rows.start
        assert (values[:count, :inputs] == matrix.codes[rows]).all()
        assert (mask[:count, :inputs] == matrix.mask[rows]).all()
        assert kept.reshape(-1)[: matrix.k_blocks].tolist() == matrix.kept[group].tolist()


@given(
    st.integers(0, 65535), st.integers(0, 63), st.booleans(), st.integers(1, 16),
    st.integers(0, (1 << 32) - 1),
)  # fmt: skip
def test_constants_round_trip(
    multiplier: int, shift: int, is_int8: bool, lanes: int, epsilon: int
) -> None:
    one = Constants(multiplier, 65535 - multiplier, shift, 63 - shift, is_int8, lanes, 7, epsilon)
    assert decode_constants(encode_constants(one)) == one


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_vectors_round_trip(numbers: list[int]) -> None:
    assert read_vector(vector_image(numbers), len(numbers)).tolist() == numbers


@given(st.floats(1e-9, 60000))
def test_a_ratio_is_within_half_of_its_last_place(real: float) -> None:
    multiplier, shift = ratio(real)
    assert 1 << 15 <= multiplier < 1 << 16
    assert multiplier / 2.0**shift == pytest.approx(real, rel=2.0**-16)


@pytest.mark.parametrize(
    ("codes", "mask", "bits", "named"),
    [
        (np.zeros((16, 16)), None, 5, "bits: no weight format of the machine, got 5"),
        (np.full((16, 16), 8), None, 4, "codes: a code does not fit, got 8"),
        (np.ones((16, 16)), np.zeros((16, 16), bool), 8, "mask: a weight that is not kept"),
        (np.zeros((16, 16)), np.eye(16, dtype=bool), 8, "equally many weights.*0, 2, 4, 8 or 16"),
        (np.zeros((16, 16)), np.zeros((16, 8), bool), 8, "mask: not the shape of the codes"),
    ],
)
def test_bad_matrices_are_named(codes, mask, bits, named) -> None:
    with pytest.raises(SpecError, match=named):
        SparseMatrix(codes.astype(np.int8), mask, bits)


def test_a_number_too_large_for_the_unit_is_named() -> None:
    with pytest.raises(SpecError, match=r"constants.multiplier_a: does not fit.*got 65536"):
        encode_constants(Constants(multiplier_a=1 << 16))


def test_pruning_keeps_every_density_in_a_quarter_of_the_blocks() -> None:
    weight = np.random.default_rng(1).standard_normal((64, 128))
    matrix, scales = pruned(weight, 4)
    counts = np.bincount(matrix.kept.reshape(-1), minlength=17)
    assert [int(counts[n]) for n in (2, 4, 8, 16)] == [8, 8, 8, 8]
    assert (np.abs(matrix.codes * scales[:, None] - weight)[matrix.mask] <= scales.max() / 2).all()


def linear_program(outputs: int, inputs: int, **changes: int) -> Assembler:
    assembler = Assembler({**PARAMETERS, **changes})
    matrix = draw(3, outputs, inputs, 4)
    row, out = assembler.vector(np.zeros(inputs, int)), assembler.room(outputs)
    assembler.linear(matrix, channels_of(np.ones(outputs), True), row, out)
    return assembler


@pytest.mark.parametrize(
    ("outputs", "inputs", "changes", "named"),
    [
        (16, 512, {"ABankEntries": 1}, "ABankEntries: the weights of 16 outputs do not fit"),
        (16, 512, {"MetaEntries": 31}, "inputs: does not fit MetaEntries, got '32 words'"),
        (64, 32, {"BiasEntries": 8}, "outputs: does not fit BiasEntries"),
        (640, 32, {"GlobalEntries": 8}, "outputs: does not fit GlobalEntries"),
    ],
)
def test_what_does_not_fit_the_buffers_is_named(outputs, inputs, changes, named) -> None:
    with pytest.raises(SpecError, match=named):
        linear_program(outputs, inputs, **changes)


def test_a_unit_longer_than_the_instruction_buffer_is_named() -> None:
    with pytest.raises(SpecError, match="program: a unit's instructions do not fit"):
        linear_program(640, 32, SegmentEntries=2).image()


def test_programs_balance_their_tokens() -> None:
    image = linear_program(100, 96, MetaEntries=12).image()
    counts = image.program.counts()
    assert counts["mv"] == 7
    assert counts["sys"] == 1
    run(image.program, np.ones(len(image.program)))  # raises if a token is missing or left


def test_addresses_lie_behind_the_program_and_inside_the_memory() -> None:
    assembler = linear_program(100, 96)
    vector = assembler.vector(np.arange(40))
    out = assembler.room(40)
    assembler.misc(MiscOperation.SILU, vector, None, out, Constants())
    image = assembler.image()
    program = image.program
    moves = np.isin(program["queue"], [Queue.LD, Queue.ST])
    first = program["address"][moves] // 32
    assert first.min() >= len(image.blocks[0])
    assert (first + program["length"][moves] // 32).max() <= image.words
    at = assembler.address_in(image, vector)
    assert read_vector(image.blocks[at], 40).tolist() == list(range(40))


@pytest.mark.slow
def test_longer_memories_take_longer_and_stalls_more() -> None:
    from plait.sim.families.bit_serial_schedule import Memory

    image = linear_program(100, 96).image()
    pair = image.segments, image.segment_words, PARAMETERS["QueueDepth"]
    plain = schedule(*pair)
    assert schedule(*pair, Memory(20)).cycles > plain.cycles
    assert schedule(*pair, Memory(8, 1 << 30, 5)).cycles > plain.cycles
    assert (plain.ends >= plain.starts).all()
    assert 0 < plain.fetch_cycles < plain.cycles


@pytest.mark.parametrize("biased", [True, False])
def test_channel_words_hold_four_outputs(biased: bool) -> None:
    channels = channels_of(np.full(20, 0.5), is_int8=biased)
    words = channel_image(channels)
    assert words.shape == (8, 32)
    assert words[0, 4:7].tolist() == [0, 128, 16 | (64 if biased else 0)]
    assert not words[5:].any()
