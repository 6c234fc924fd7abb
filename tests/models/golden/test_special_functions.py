"""Special functions in fixed point: their stated errors against float64, and their corners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from plait.models.golden import special_functions as golden

LOG2E = 1.4426950408889634
elements = st.lists(st.integers(-32768, 32767), min_size=1, max_size=80)


def test_exponential_is_within_its_error() -> None:
    distance = np.arange(18 << golden.LOG_FRACTION_BITS)
    exact = 2.0 ** (16 - distance / (1 << golden.LOG_FRACTION_BITS))
    error = golden.exponential(distance) - exact
    assert np.abs(error).max() < 2.5  # of 65536: the table's rounding, the line, two truncations


@given(st.integers(1, (1 << 48) - 1))
@settings(deadline=None)
def test_reciprocal_and_root_are_within_their_error(number: int) -> None:
    mantissa, exponent = golden.reciprocal(number)
    assert 1 << 15 <= mantissa <= 1 << 16
    assert mantissa / 2.0 ** (31 + exponent) == pytest.approx(1 / number, rel=7e-5)
    mantissa, exponent = golden.inverse_root(number)
    assert 1 << 15 <= mantissa <= 1 << 16
    assert mantissa / 2.0 ** (31 + exponent) == pytest.approx(number**-0.5, rel=7e-5)


@given(elements, st.integers(1, 65535), st.integers(4, 24))
@settings(max_examples=200, deadline=None)
def test_softmax_is_within_its_error(values: list[int], multiplier: int, shift: int) -> None:
    bits = 20  # so fine that the last rounding hides nothing
    found = golden.softmax(values, multiplier, shift, fraction=18, bits=bits) / 2.0**18
    logs = (np.array(values) * multiplier >> shift) / (1 << golden.LOG_FRACTION_BITS)
    powers = 2.0 ** (logs - logs.max())
    exact = powers / powers.sum()
    # An exponential is cut at 2**-16 of the largest power of two, at most twice the largest.
    cut = len(values) * 2.0**-15
    assert np.abs(found - exact).max() <= golden.SOFTMAX_ERROR + cut * exact.max() + 2.0**-18


def test_softmax_in_units_of_128() -> None:
    scores = np.array([100, 60, -128, 100])
    scale = 0.05
    multiplier = round(scale * LOG2E * (1 << golden.LOG_FRACTION_BITS) * 4)
    found = golden.softmax(scores, multiplier, 2, fraction=7, bits=8)
    powers = np.exp(scores * scale)
    assert found.tolist() == np.rint(128 * powers / powers.sum()).tolist()
    assert golden.softmax([5], multiplier, 2, fraction=7, bits=8).tolist() == [127]


@given(elements, st.integers(0, 1 << 20))
@settings(max_examples=200, deadline=None)
def test_rms_norm_is_within_its_error(values: list[int], epsilon: int) -> None:
    numbers = np.array(values)
    gains = np.random.default_rng(len(values)).integers(-32768, 32768, len(values))
    found = golden.rms_norm(numbers, gains, epsilon, shift=31, bits=40)
    exact = numbers * gains / np.sqrt(max(int((numbers.astype(object) ** 2).sum()) + epsilon, 1))
    assert np.abs(found - exact).max() <= np.abs(exact).max() * golden.NORM_ERROR + 0.5


@given(elements)
@settings(max_examples=200, deadline=None)
def test_layer_norm_is_within_its_error(values: list[int]) -> None:
    numbers = np.array(values)
    count = len(values)
    mean = (round(2.0**22 / count), 22)
    gains = np.full(count, 1 << 14)
    found = golden.layer_norm(numbers, gains, 0, mean, shift=31, bits=40)
    middle = np.rint(numbers.mean())
    if not np.isclose(abs(numbers.mean() - middle), 0.5, atol=1e-2):
        exact = gains * (numbers - middle) / np.sqrt(max(((numbers - middle) ** 2).sum(), 1))
        assert np.abs(found - exact).max() <= np.abs(exact).max() * golden.NORM_ERROR + 0.5


@pytest.mark.parametrize(
    ("table", "function", "bound"),
    [
        (golden.SIGMOID, lambda x: 1 / (1 + np.exp(-x)), golden.SIGMOID_ERROR),
        (golden.NORMAL, lambda x: 0.5 * (1 + erf(x / np.sqrt(2))), golden.NORMAL_ERROR),
    ],
    ids=["sigmoid", "normal"],
)
def test_gates_are_within_their_error(table, function, bound) -> None:
    arguments = np.arange(-(20 << golden.GATE_FRACTION_BITS), 20 << golden.GATE_FRACTION_BITS)
    found = golden.gate(arguments, 1, 0, table) / 2.0**16
    assert np.abs(found - function(arguments / (1 << golden.GATE_FRACTION_BITS))).max() < bound
    assert (golden.gate(-arguments, 1, 0, table) + golden.gate(arguments, 1, 0, table))[
        arguments != 0
    ].tolist() == [1 << 16] * (len(arguments) - 1)


def test_silu_and_gelu_round_once() -> None:
    values = np.arange(-128, 128)
    scale = 0.06
    argument = (round(scale * (1 << 14)), 2)
    result = (1 << 10, 26)  # 16 bits of the gate, 10 of the multiplier: scale unchanged
    real = values * scale
    for function, exact in (
        (golden.silu, values / (1 + np.exp(-real))),
        (golden.gelu, values * 0.5 * (1 + erf(real / np.sqrt(2)))),
    ):
        assert np.abs(function(values, argument, result, 8) - exact).max() < 0.5 + 0.03


def test_elementwise_operations_round_to_even_and_saturate() -> None:
    assert golden.add([1, 3, 127, -128], [0, 0, 127, -128], (1, 1), 1, 8).tolist() == [
        0,
        2,
        127,
        -128,
    ]
    assert golden.add([1, 2], [1, 2], (3, 5), 0, 8).tolist() == [8, 16]
    assert golden.multiply([3, -3, 200], [1, 1, 200], 1, 1, 8).tolist() == [2, -2, 127]
    assert golden.requantise([1 << 30], 65535, 31, 16).tolist() == [32767]


def test_rotation_is_that_of_the_rotary_embedding() -> None:
    rng = np.random.default_rng(3)
    heads = rng.integers(-127, 128, (5, 64))
    angles = 7 * 100000.0 ** (-np.arange(32) / 32)
    cosines = np.rint(np.tile(np.cos(angles), 2) * (1 << 14))
    sines = np.rint(np.concatenate([-np.sin(angles), np.sin(angles)]) * (1 << 14))
    found = golden.rotate(heads, cosines, sines, shift=14, bits=16)
    pairs = (heads[:, :32] + 1j * heads[:, 32:]) * np.exp(1j * angles)
    assert np.abs(found - np.concatenate([pairs.real, pairs.imag], axis=1)).max() <= 1.1
