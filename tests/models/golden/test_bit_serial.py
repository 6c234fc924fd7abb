"""Golden PE: exact where the widths allow, the published errors where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import FormatError
from plait.hwgen.bit_serial.package import DEFAULT_FORMATS, bit_serial_package
from plait.models import formats
from plait.models.golden import bit_serial as golden
from plait.models.golden.bit_serial_linear import integer_sums, linear, linear_sums
from plait.models.golden.fixed import bit_length, round_half_even, shift_right
from plait.models.quantize import quantize

EXACT = {"guard_bits": 36, "accumulator_bits": 62}
finite_fp16 = st.integers(0, (1 << 16) - 1).filter(lambda bits: bits & 0x7C00 != 0x7C00)


@given(
    st.sampled_from(["bitmod3", "bitmod4", "int4", "flint4"]),
    st.lists(st.tuples(st.integers(0, 15), finite_fp16), min_size=4, max_size=8),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_wide_group_sum_is_exact(name, pairs, selector):
    fmt = formats.get(name)
    pairs = pairs[: len(pairs) // 4 * 4]
    codes = np.array([[code % (1 << fmt.code_bits) for code, _ in pairs]])
    bits = np.array([[bits for _, bits in pairs]], np.uint16)
    selector %= fmt.selectors
    mantissa, exponent = golden.group_sum(
        bits.view(np.float16), codes, [selector], fmt.terms(), lanes=4, **EXACT
    )
    values = fmt.terms().values()[selector, codes[0]]
    sign, exponents, mantissas = golden.split_fp16(bits.view(np.float16)[0])
    expected = sum(
        int(v) * (-1) ** int(s) * (int(m) << int(e))
        for v, s, m, e in zip(values, sign, mantissas, exponents, strict=True)
    )
    assert int(mantissa[0, 0]) << int(exponent[0, 0]) == expected << EXACT["guard_bits"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "selector", "narrow", "wide"),
    [
        ("bitmod4", 2, 1.5e-3, 3.9e-4),
        ("bitmod3", 2, 9.1e-4, 2.3e-4),
        ("int6", 0, 2.6e-3, 3.3e-5),
        ("int8", 0, 3.8e-3, 2.4e-5),
    ],
)
def test_errors_of_the_published_widths(name, selector, narrow, wide):
    """Relative RMS error of 1000 groups of 128, accumulators of 15 and 24 bits, within 25 %."""
    rng, fmt = np.random.default_rng(0), formats.get(name)
    weights = rng.standard_normal((1000, 128))
    scale = np.abs(weights).max(axis=1, keepdims=True) / np.abs(fmt.grid(selector)).max()
    codes = fmt.encode(weights / scale, selector)
    activations = rng.standard_normal((1000, 128)).astype(np.float16)
    exact = (fmt.decode(codes, selector).astype(float) * activations.astype(float)).sum(axis=1)
    for bits, expected in ((15, narrow), (24, wide)):
        sums = []
        for first in range(0, 1000, 50):
            part = slice(first, first + 50)
            mantissa, exponent = golden.group_sum(
                activations[part],
                codes[part],
                np.full(50, selector),
                fmt.terms(),
                lanes=4,
                guard_bits=3,
                accumulator_bits=bits,
            )
            sums.append(np.ldexp(mantissa.astype(float), exponent - 28).diagonal())
        error = np.sqrt(np.mean((np.concatenate(sums) - exact) ** 2) / np.mean(exact**2))
        assert error == pytest.approx(expected, rel=0.25), bits


@pytest.mark.parametrize("name", DEFAULT_FORMATS)
@pytest.mark.parametrize(("bits", "guard"), [(15, 3), (24, 3), (44, 12)])
def test_kernel_equals_the_stages(name, bits, guard):
    rng = np.random.default_rng(1)
    tensor = quantize(
        rng.standard_normal((5, 70)).astype(np.float32), name, group_size=32, scale_bits=8
    )
    activations = rng.standard_normal((67, 70)).astype(np.float16)
    activations[:, :3] *= np.float16(300)
    padded, codes = np.pad(activations, ((0, 0), (0, 2))), np.pad(tensor.codes, ((0, 0), (0, 2)))
    groups = []
    for group in range(3):
        part = slice(32 * group, 32 * (group + 1))
        mantissa, exponent = golden.group_sum(
            padded[:, part],
            codes[:, part],
            tensor.selectors[:, group],
            tensor.format.terms(),
            lanes=4,
            guard_bits=guard,
            accumulator_bits=bits,
        )
        scale = tensor.scale_codes[:, group, np.newaxis]
        groups.append((golden.dequantise(mantissa, scale, 8), exponent))
    expected = golden.output_sum(groups, 48)
    got = linear_sums(
        tensor,
        activations,
        lanes=4,
        guard_bits=guard,
        accumulator_bits=bits,
        output_accumulator_bits=48,
        scale_bits=8,
    )
    assert (got[0] == expected[0]).all()
    assert (got[1] == expected[1]).all()


@pytest.mark.parametrize("name", DEFAULT_FORMATS)
def test_int8_activations_are_exact(name):
    rng = np.random.default_rng(2)
    tensor = quantize(rng.standard_normal((6, 70)), name, group_size=32, scale_bits=8)
    activations = rng.integers(-128, 128, (5, 70)).astype(np.int8)
    groups = [
        golden.dequantise(
            golden.group_sum_int8(
                activations[:, part], tensor.codes[:, part], tensor.selectors[:, g], terms
            ),
            tensor.scale_codes[:, g, np.newaxis],
            8,
        )
        for g, part in enumerate((slice(0, 32), slice(32, 64), slice(64, 70)))
        for terms in [tensor.format.terms()]
    ]
    assert (integer_sums(tensor, activations) == sum(groups)).all()
    real = activations.astype(float) @ tensor.dequantize().astype(float).T
    assert linear(tensor, activations) == pytest.approx(real, rel=1e-3, abs=1e-2)


@given(st.integers(-(1 << 50), 1 << 50), st.integers(0, 40), finite_fp16.map(lambda b: b & 0x7FFF))
@settings(max_examples=300, deadline=None)
def test_output_is_rounded_once(mantissa, exponent, step_bits):
    step = np.array([step_bits], np.uint16).view(np.float16)
    got = golden.output_float32(np.array([mantissa]), np.array([exponent - 28]), step)
    _, step_exponent, step_mantissa = golden.split_fp16(step)
    product = mantissa * int(step_mantissa[0])  # an int64, whose cast to FP32 rounds once
    expected = np.ldexp(np.float32(np.int64(product)), exponent - 28 + int(step_exponent[0]) - 25)
    assert got[0] == expected
    assert not (got[0] == 0 and np.signbit(got[0]))


def test_rounding_and_shifts():
    assert bit_length([0, 1, 2, 255, 256, 1 << 61]).tolist() == [0, 1, 2, 8, 9, 62]
    assert shift_right([-1, -5, 5], [70, 1, 1]).tolist() == [-1, -3, 2]
    values = np.arange(-40, 40)
    assert round_half_even(values, 3).tolist() == np.rint(values / 8).astype(int).tolist()


def test_what_the_array_cannot_do_is_refused():
    weight = np.eye(8, dtype=np.float32)
    good = quantize(weight, "int4", group_size=8, scale_bits=8)
    with pytest.raises(FormatError, match="scale_bits=8"):
        linear(quantize(weight, "int4", group_size=8), np.zeros((1, 8), np.float16))
    with pytest.raises(FormatError, match="infinity or NaN"):
        linear(good, np.full((1, 8), np.inf, np.float16))
    with pytest.raises(FormatError, match="wrong type"):
        linear(good, np.zeros((1, 8), np.float32))
    with pytest.raises(FormatError, match="wrong shape"):
        linear(good, np.zeros((1, 9), np.float16))
    with pytest.raises(FormatError, match="ends within a step"):
        linear(
            quantize(np.ones((2, 12)), "int4", group_size=6, scale_bits=8),
            np.zeros((1, 12), np.float16),
        )
    no_scale = np.zeros_like(good.scale_codes)
    with pytest.raises(FormatError, match="scale out of range"):
        linear(_with_scales(good, no_scale), np.zeros((1, 8), np.float16))


def _with_scales(tensor, scale_codes):
    from dataclasses import replace

    return replace(tensor, scale_codes=scale_codes)


def test_constants_are_those_of_the_verilog():
    package = bit_serial_package()
    for name in (
        "EXPONENT_BITS",
        "FP16_UNIT_EXPONENT",
        "INTEGER_ACCUMULATOR_BITS",
        "INTEGER_OUTPUT_BITS",
    ):
        assert f"localparam int unsigned {name} = {getattr(golden, name)};" in package
