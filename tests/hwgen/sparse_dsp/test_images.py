"""Weights, constants and vectors as words of memory: round trips, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.constants import decode_constants, encode_constants
from plait.hwgen.sparse_dsp.layer import channels_of, pruned, ratio
from plait.hwgen.sparse_dsp.operands import channel_image, read_vector, vector_image
from plait.hwgen.sparse_dsp.weights import SparseMatrix, group_image, read_group
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.kept import KEPT, code_words
from plait.sim.spec import load_accelerator
from plait.sim.spec.sparse_dsp import SparseDsp


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
        assert len(codes) == code_words(matrix.kept, bits)[group]
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
    machine = load_accelerator("flightllm-small")
    assert isinstance(machine, SparseDsp)
    assert matrix.kept.mean() == 16 * machine.density_of("layers.*.mlp.up_proj")
    assert (np.abs(matrix.codes * scales[:, None] - weight)[matrix.mask] <= scales.max() / 2).all()


@pytest.mark.parametrize("biased", [True, False])
def test_channel_words_hold_four_outputs(biased: bool) -> None:
    channels = channels_of(np.full(20, 0.5), is_int8=biased)
    words = channel_image(channels)
    assert words.shape == (8, 32)
    assert words[0, 4:7].tolist() == [0, 128, 16 | (64 if biased else 0)]
    assert not words[5:].any()
