"""The packed arithmetic of the DSP chains equals plain integers, corners included."""

import numpy as np
import pytest

from plait.models.golden import sparse_dsp as golden
from plait.models.golden.sparse_dsp_dsp48 import Registers, run


def test_eight_products_are_exact_and_nine_are_not():
    assert golden.exact_terms(8) == 8
    assert golden.exact_terms(4) == 128
    for count, is_exact in ((7, True), (8, True), (9, False)):
        total = count * golden.pack(-128, -128) * -128
        high, low = golden.split(total)
        assert (int(high) == int(low) == count * 16384) == is_exact


@pytest.mark.parametrize("shift", [18, 20, 21, 22])
def test_four_bit_weights_in_the_pre_adder(shift):
    count = golden.exact_terms(4, shift)
    for weights, activation in (((-8, -8), -128), ((-8, 7), 127), ((7, -8), -128)):
        total = count * golden.pack(*weights, shift) * activation
        high, low = golden.split(total, shift)
        assert (int(high), int(low)) == tuple(count * w * activation for w in weights)


@pytest.mark.parametrize("kept", [2, 4, 8, 16])
@pytest.mark.parametrize("value", [None, -128])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_a_block_in_groups_of_weights(kept, value, rows):
    rng = np.random.default_rng(kept)
    window = rng.integers(-128, 128, (rows, 16)) if value is None else np.full((rows, 16), value)
    chosen = np.sort(np.argsort(rng.random((16, 16)), axis=1)[:, :kept], axis=1)
    if kept == 2:
        chosen[:] = (0, 15)
    weights = rng.integers(-128, 128, (16, kept)) if value is None else np.full((16, kept), value)
    dense = np.zeros((16, 16), np.int64)
    np.put_along_axis(dense, chosen, weights, axis=1)
    masks = (1 << chosen).sum(axis=1)
    total = sum(
        golden.step(
            weights.reshape(-1, 32)[turn], golden.places(masks, kept, turn), window, kept, turn
        )
        for turn in range(kept // 2)
    )
    assert (total == window @ dense.T).all()


def test_codes_unpack():
    assert golden.unpack_codes(0b1000_0111, 0, 4)[:3].tolist() == [7, -8, 0]
    assert golden.unpack_codes(0b10 << 64, 1, 2)[:2].tolist() == [-2, 0]


def test_the_primitive_multiplies_a_packed_pair_in_four_cycles():
    inputs = {"a": [-3 << 18, 0, 0, 0, 0], "d": [5, 0, 0, 0, 0], "b": [7, 0, 0, 0, 0]}
    assert run(inputs, Registers()) == [0, 0, 0, 0, int(golden.pack(-21, 35))]
