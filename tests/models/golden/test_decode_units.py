"""Golden decode units: stored bytes in, the values of the quantised tensor out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.errors import FormatError
from plait.models.formats import pack_codes
from plait.models.golden import decode_units as unit
from plait.models.quantize import dgq, edkm, ternary, vptq
from plait.models.quantize.granularity import PerGroup
from plait.models.quantize.storage import stored_parts
from plait.models.quantize.tensor import QuantizedTensor
from plait.sim.families import decode_cycles as law

RNG = np.random.default_rng(4)
WEIGHT = 0.06 * RNG.standard_normal((24, 96)) ** 3
INPUTS = RNG.standard_normal((40, 96))


def dual() -> tuple[QuantizedTensor, np.ndarray]:
    tensor = dgq.dgq(WEIGHT, granularity=PerGroup(16), inputs=INPUTS)
    parts = stored_parts(tensor)
    zeros = parts["zeros"].view(np.int8).reshape(tensor.scales.shape)
    return tensor, unit.expanded_weights(parts["codes"], zeros, parts["scale_codes"], tensor.shape)


def test_trits_are_those_of_the_tensor() -> None:
    tensor = ternary.ternary(WEIGHT)
    weights = unit.trit_weights(stored_parts(tensor)["codes"], tensor.shape)
    assert (weights == ternary.trits(WEIGHT).codes).all()
    assert (weights * tensor.scales == tensor.dequantize()).all()


def test_trit_sums_are_those_of_the_bit_linear() -> None:
    codes, _ = ternary.activation_codes(INPUTS)
    stored = stored_parts(ternary.ternary(WEIGHT))["codes"]
    sums = unit.trit_sums(stored, WEIGHT.shape, codes, unit.trit_sum_bits(96))
    assert (sums == ternary.linear(INPUTS, WEIGHT)[1]).all()


def test_expander_gives_the_int8_weights() -> None:
    tensor, weights = dual()
    assert tensor.channel_steps is not None
    steps = tensor.channel_steps.astype(np.float64)[:, np.newaxis]
    assert np.allclose(weights * steps, tensor.dequantize(), rtol=1e-6, atol=0)
    scales, zeros = dgq.group_search(WEIGHT, INPUTS, 16)
    assert (weights == dgq.row_search(WEIGHT, INPUTS, scales, zeros).int8_weights).all()


def test_expanded_sums_are_exact() -> None:
    _, weights = dual()
    codes, _ = dgq.token_codes(INPUTS)
    assert (unit.expanded_sums(weights, codes, unit.sum_bits(96)) == codes @ weights.T).all()


@pytest.mark.parametrize("rows", [24, 8])
def test_palette_gives_the_bits_of_the_values(rows: int) -> None:
    tensor = edkm.edkm(WEIGHT, "palette3", rows_per_lut=rows)
    parts = stored_parts(tensor)
    bits = unit.palette_values(parts["codes"], tensor.extras["lut"], 3, tensor.shape)
    assert (bits.view(np.float16).astype(np.float32) == tensor.dequantize()).all()


def test_codebook_gives_the_vectors() -> None:
    tensor = vptq.vptq(WEIGHT, "vptq-v4-k16", inputs=INPUTS, normalise=False)
    vectors = unit.codebook_vectors(tensor.codes, tensor.extras["codebook"])  # [rows, inputs, v]
    values = vectors.view(np.float16).astype(np.float32)
    permuted = values.transpose(0, 2, 1).reshape(tensor.shape)
    assert (permuted == tensor.dequantize()[:, tensor.extras["permutation"]]).all()


def test_a_beat_takes_as_long_as_its_busiest_bank() -> None:
    indices = RNG.integers(0, 37, (300, 5))
    indices[RNG.random(indices.shape) < 0.2] = -1
    loads = [np.bincount(beat[beat >= 0] % 4, minlength=4).max() for beat in indices]
    expected = np.maximum(loads, 1).tolist()
    assert unit.conflict_cycles(indices, 4).tolist() == expected


@pytest.mark.parametrize(("lookups", "banks"), [(1, 1), (4, 4), (16, 8), (5, 4), (7, 1), (32, 32)])
def test_closed_form_is_the_mean_of_random_lookups(lookups: int, banks: int) -> None:
    indices = RNG.integers(0, 4096, (40000, lookups))
    cycles = unit.conflict_cycles(indices, banks)
    error = 5 * cycles.std() / np.sqrt(cycles.size) + 1e-12  # five standard errors
    assert abs(cycles.mean() - law.mean_conflict_cycles(lookups, banks)) <= error


def test_closed_form_of_a_codebook_counts_the_short_beat() -> None:
    rows, columns = 6, 11
    beats = rows * (2 * law.mean_conflict_cycles(4, 2) + law.mean_conflict_cycles(3, 2))
    expected = 64 + beats + law.CODEBOOK_LATENCY
    assert law.codebook_cycles(rows, columns, 4, 2, 64) == pytest.approx(expected)


def refusals() -> list[tuple[str, Any]]:
    trits = pack_codes(np.zeros((1, 256), np.uint8), 2)
    activations = np.zeros((1, 256), np.int64)
    wide = pack_codes(np.full((1, 4), 15, np.uint8), 4)
    zero, scale = np.zeros((1, 1), np.int8), np.full((1, 1), 255, np.uint8)
    book = np.zeros((4, 2), np.float16)
    return [
        ("could wrap", lambda: unit.trit_sums(trits, (1, 256), activations, 15)),
        ("beyond the unit's", lambda: unit.trit_sums(trits, (1, 256), activations - 128, 20)),
        ("another matrix", lambda: unit.trit_sums(trits, (1, 256), activations[:, :3], 20)),
        ("not a trit", lambda: unit.trit_weights(pack_codes(np.array([[2]]), 2), (1, 1))),
        ("not an INT8", lambda: unit.expanded_weights(wide, zero, scale, (1, 4))),
        ("could wrap", lambda: unit.expanded_sums(activations, activations, 23)),
        ("beyond the codebook", lambda: unit.codebook_vectors(np.array([4]), book)),
    ]


@pytest.mark.parametrize(("message", "call"), refusals(), ids=[str(n) for n in range(7)])
def test_what_no_unit_gives_exactly_is_refused(message: str, call: Any) -> None:
    with pytest.raises(FormatError, match=message):
        call()
