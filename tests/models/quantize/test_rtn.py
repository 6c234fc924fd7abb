"""Rounding to nearest, against the published vectors and plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import FormatError
from plait.models import formats
from plait.models.quantize import PerGroup, candidate_errors, quantize

GROUP = 128
RNG_SHAPE = (5, 200)  # with groups of 64 the last group of a row has 8 weights


def vector(name: str) -> np.ndarray:
    """V1 to V4: 128 weights as formulas."""
    i = np.arange(GROUP)
    wave = 0.05 * np.sin(1.7 * i + 0.3) * np.where(i % 7 == 3, 2.5, 1.0)
    if name == "V2":
        wave[5] = 0.4
    ramp = (37 * i) % 101
    return {"V1": wave, "V2": wave, "V3": (ramp - 50) / 1000, "V4": (ramp - 30) / 1000}[name]


PUBLISHED = {  # mean squared error with each special value, as printed, and the winner
    ("V1", "bitmod3"): ("1.14065e-04", "1.12481e-04", "7.75847e-05", "7.66296e-05", 3),
    ("V1", "bitmod4"): ("2.22966e-05", "2.34837e-05", "3.05976e-05", "2.86840e-05", 0),
    ("V2", "bitmod3"): ("1.13698e-03", "1.13698e-03", "4.54712e-04", "5.93601e-04", 2),
    ("V2", "bitmod4"): ("1.15921e-04", "1.15921e-04", "6.26673e-05", "1.40792e-04", 2),
    ("V3", "bitmod3"): ("2.29941e-05", "2.22617e-05", "3.08880e-05", "2.87179e-05", 1),
    ("V3", "bitmod4"): ("7.18468e-06", "6.85916e-06", "1.37168e-05", "1.24961e-05", 1),
    ("V4", "bitmod3"): ("2.63145e-05", "5.30430e-05", "2.65043e-05", "5.87092e-05", 0),
    ("V4", "bitmod4"): ("7.70551e-06", "1.50276e-05", "1.10660e-05", "2.50797e-05", 0),
}


def weights(seed: int = 0, shape: tuple[int, int] = RNG_SHAPE) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.02).astype(np.float32)


def groups_of(matrix: np.ndarray, size: int) -> list[tuple[int, int, np.ndarray]]:
    return [
        (row, k // size, matrix[row, k : k + size])
        for row in range(matrix.shape[0])
        for k in range(0, matrix.shape[1], size)
    ]


class TestPublishedVectors:
    @pytest.mark.parametrize(("name", "fmt_name"), PUBLISHED)
    def test_every_special_value(self, name: str, fmt_name: str) -> None:
        """In float64, as published: every printed digit."""
        fmt, w = formats.get(fmt_name), vector(name)
        for selector, printed in enumerate(PUBLISHED[name, fmt_name][:4]):
            scale = np.abs(w).max() / np.abs(fmt.grid(selector)).max()
            values = fmt.table[selector, fmt.encode(w / scale, selector)]
            assert f"{np.mean((values * scale - w) ** 2):.5e}" == printed

    @pytest.mark.parametrize(("name", "fmt_name"), PUBLISHED)
    def test_choice(self, name: str, fmt_name: str) -> None:
        """In FP32, as the quantiser computes: six digits, less FP32 rounding."""
        *printed, winner = PUBLISHED[name, fmt_name]
        errors = candidate_errors(vector(name)[np.newaxis], fmt_name, PerGroup(GROUP))[0, 0]
        assert errors == pytest.approx([float(text) for text in printed], rel=6e-6)
        tensor = quantize(vector(name)[np.newaxis], fmt_name, group_size=GROUP)
        assert tensor.selectors.tolist() == [[winner]]
        error = np.mean((tensor.dequantize()[0].astype(np.float64) - vector(name)) ** 2)
        assert error == pytest.approx(float(printed[winner]), rel=6e-6)


ROUNDED = [
    name
    for name in formats.names()
    if formats.get(name).has_table and not formats.get(name).signed_zeros
]
GRID_FORMATS = [
    name
    for name in formats.names()
    if formats.get(name).scale_rule in ("absmax_grid", "absmax_integer")
]


class TestAgainstPlainNumpy:
    """The kernels give what the rules say, written a second time without numba."""

    @pytest.mark.parametrize("name", GRID_FORMATS)
    def test_groups(self, name: str) -> None:
        fmt, matrix = formats.get(name), weights()
        tensor = quantize(matrix, name, group_size=64)
        for row, group, w in groups_of(matrix, 64):
            errors, candidates = [], []
            for selector in range(fmt.selectors):
                end = np.float32(np.abs(fmt.grid(selector)).max())
                scale = np.abs(w).max() / end
                if fmt.scale_rule == "absmax_grid":
                    scale = np.clip(scale, np.float32(1e-5), np.float32(1e4))
                codes = fmt.encode(w / scale, selector)
                difference = fmt.decode(codes, selector).astype(np.float64) * scale - w
                errors.append(np.mean(difference**2))
                candidates.append((scale, codes))
            chosen = int(tensor.selectors[row, group])
            assert errors[chosen] <= min(errors) * (1 + 1e-5)
            scale, codes = candidates[chosen]
            assert tensor.scales[row, group] == scale
            assert tensor.codes[row, group * 64 : group * 64 + w.size].tolist() == codes.tolist()

    @pytest.mark.parametrize("bits", range(2, 9))
    def test_asymmetric_integers(self, bits: int) -> None:
        matrix, largest = weights(1) + np.float32(0.005), 2**bits - 1
        tensor = quantize(matrix, f"int{bits}-asym", group_size=64)
        for row, group, w in groups_of(matrix, 64):
            scale = (w.max() - w.min()) / np.float32(largest)
            zero = np.clip(np.round(-w.min() / scale), 0, largest)
            codes = np.clip(np.round(w / scale) + zero, 0, largest)
            assert (tensor.scales[row, group], tensor.zeros[row, group]) == (scale, zero)
            assert tensor.codes[row, group * 64 : group * 64 + w.size].tolist() == codes.tolist()
            values = (codes - zero).astype(np.float32) * scale
            assert tensor.dequantize()[row, group * 64 : group * 64 + w.size].tolist() == (
                values.tolist()
            )

    @pytest.mark.parametrize("group_size", [64, "channel"])
    def test_olive(self, group_size: int | str) -> None:
        fmt, matrix = formats.get("olive4"), weights(2)
        matrix[:, ::37] *= 8
        tensor = quantize(matrix, "olive4", group_size=group_size)
        for row, group, w in groups_of(matrix, tensor.group_size):
            double = w.astype(np.float64)
            sides = [double.mean() + side * 3 * double.std() for side in (-1, 1)]
            errors = []
            for factor in np.arange(0.75, 1.5, 0.02):
                scale = np.float32(max(np.abs(sides)) * factor / 28)
                values = fmt.decode(fmt.encode(w / scale)).astype(np.float64) * scale
                errors.append(np.mean((values - w) ** 2))
            part = slice(group * tensor.group_size, group * tensor.group_size + w.size)
            got = np.mean((tensor.dequantize()[row, part].astype(np.float64) - w) ** 2)
            assert got == pytest.approx(min(errors), rel=1e-5)

    @pytest.mark.parametrize("name", ["bitmod4", "ant4-pot4", "int4", "int4-asym", "olive4"])
    def test_one_scale_a_tensor(self, name: str) -> None:
        """The same as one group that holds the whole matrix."""
        matrix = weights(3, (4, 96))
        matrix[2, 10] = 0.3
        whole = quantize(matrix, name, group_size="tensor")
        row = quantize(matrix.reshape(1, -1), name, group_size="channel")
        assert (whole.dequantize().reshape(-1) == row.dequantize()[0]).all()
        assert np.unique(whole.scales).size == 1
        assert np.unique(whole.selectors).size == 1
        assert whole.bits_per_weight == row.bits_per_weight


class TestRounding:
    def test_grid_ties_go_to_the_lower_neighbour(self) -> None:
        row = np.array([[12, 2.5, -2.5, 5, -5, 10, -10, 0.5]])
        values = quantize(row, "fp4", group_size=8).dequantize()
        assert values.tolist() == [[12, 2, -3, 4, -6, 8, -12, 0]]

    def test_integer_ties_go_to_the_even_neighbour(self) -> None:
        row = np.array([[7, 2.5, -2.5, 3.5, -3.5, 0.5, -0.5, 1.5]])
        values = quantize(row, "int4", group_size=8).dequantize()
        assert values.tolist() == [[7, 2, -2, 4, -4, 0, 0, 2]]

    def test_the_earlier_candidate_wins_a_tie(self) -> None:
        exact = np.array([[-12.0, 1, 2, 3, 4, 6, 8, -1]])  # no special value is needed
        assert quantize(exact, "bitmod4", group_size=8).selectors.tolist() == [[0]]
        both = np.array([[0.0, 1, -1, 1, 0, 0, -1, 1]])  # int4 and flint4 are exact
        assert quantize(both, "ant4", group_size=8).selectors.tolist() == [[0]]

    def test_the_larger_side_of_a_grid_sets_the_scale(self) -> None:
        """Also when the group's maximum has the other sign."""
        tensor = quantize(np.array([[-16.0, 0, 1, 2, 3, 4, 6, 8, 12]]), "bitmod4", group_size=9)
        assert tensor.selectors.tolist() == [[3]]
        assert tensor.scales.tolist() == [[1.0]]
        errors = candidate_errors(np.array([[-16.0, 16.0]]), "bitmod4", PerGroup(2))
        assert errors[0, 0].tolist() == [0, 0, 8, 8]  # 16 fits; the other side stops at 12

    def test_scales_are_clamped(self) -> None:
        small = quantize(np.full((1, 4), 1e-6), "fp4", group_size=4)
        large = quantize(np.full((1, 4), 1e6), "fp4", group_size=4)
        assert small.scales.tolist() == [[np.float32(1e-5)]]
        assert large.scales.tolist() == [[1e4]]

    @pytest.mark.parametrize("name", ROUNDED)
    def test_zeros_stay_zero(self, name: str) -> None:
        tensor = quantize(np.zeros((3, 64)), name)
        assert (tensor.dequantize() == 0).all()
        assert (tensor.scales > 0).all()

    def test_equal_weights_have_no_range(self) -> None:
        tensor = quantize(np.array([[0.5] * 8, [-0.5] * 8]), "int4-asym", group_size=8)
        assert tensor.dequantize() == pytest.approx(np.array([[0.5] * 8, [-0.5] * 8]), rel=1e-6)

    def test_a_group_may_be_longer_than_a_row(self) -> None:
        tensor = quantize(weights(), "int4", group_size=1000)
        assert (tensor.group_size, tensor.scales.shape) == (200, (5, 1))

    @given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(GRID_FORMATS))
    @settings(max_examples=60, deadline=None)
    def test_quantised_weights_quantise_to_themselves(self, seed: int, name: str) -> None:
        """Where one grid exists and its end is reached: the same codes again."""
        fmt = formats.get(name)
        if fmt.selectors > 1:
            return
        codes = fmt.encode(np.random.default_rng(seed).choice(fmt.grid(), (3, 32)))
        values = fmt.decode(codes)
        values[:, 0] = np.abs(fmt.grid()).max()
        again = quantize(values, name, group_size=32)
        assert (again.dequantize() == values).all()

    def test_repeats_bit_for_bit(self) -> None:
        first, second = (quantize(weights(5), "bitmod4", group_size=64) for _ in range(2))
        assert (first.codes == second.codes).all()
        assert (first.selectors == second.selectors).all()


class TestSecondLevel:
    @pytest.mark.parametrize("name", ["bitmod4", "bitmod3", "int6", "ant4", "int4-asym", "olive4"])
    def test_rule(self, name: str) -> None:
        plain = quantize(weights(), name, group_size=64)
        tensor = quantize(weights(), name, group_size=64, scale_bits=8)
        assert (tensor.codes == plain.codes).all()  # codes are not rounded again
        assert (tensor.selectors == plain.selectors).all()
        exact = plain.scales.max(axis=1) / np.float32(255)
        steps = tensor.channel_steps.astype(np.float32)
        below = np.nextafter(tensor.channel_steps, np.float16(0)).astype(np.float32)
        assert ((below < exact) & (exact <= steps)).all()  # rounded up to FP16
        integers = np.clip(np.round(plain.scales / steps[:, None]), 1, 255)
        assert (tensor.scale_codes == integers).all()
        assert (tensor.scales == integers * steps[:, None]).all()

    @pytest.mark.parametrize("name", ["bitmod4", "int8"])
    def test_no_scale_moves_by_more_than_half_a_step(self, name: str) -> None:
        """Also where the step is one of few subnormal FP16 numbers."""
        plain = quantize(weights() / 4, name, group_size=64)
        tensor = quantize(weights() / 4, name, group_size=64, scale_bits=8)
        half = tensor.channel_steps.astype(np.float32)[:, None] / 2
        assert (np.abs(tensor.scales - plain.scales) <= half * (1 + 1e-6)).all()

    def test_storage(self) -> None:
        tensor = quantize(weights(0, (8, 576)), "bitmod4", group_size=64, scale_bits=8)
        assert tensor.bits_per_weight == 4 + 10 / 64 + 16 / 576
        assert tensor.bits_per_weight == tensor.format.bits_per_weight(64, 576)

    def test_tiny_scales_have_the_smallest_step(self) -> None:
        tensor = quantize(np.full((1, 4), 1e-9), "int8", group_size=4, scale_bits=8)
        assert tensor.channel_steps.tolist() == [2.0**-24]
        assert tensor.scale_codes.tolist() == [[1]]

    @pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "fp16"])
    def test_not_where_the_format_fixes_its_scales(self, name: str) -> None:
        with pytest.raises(FormatError, match="no second level"):
            quantize(weights(), name, scale_bits=8)

    @pytest.mark.parametrize("bits", [0, 4, 16, -8, "8"])
    def test_other_widths_are_refused(self, bits: object) -> None:
        with pytest.raises(FormatError, match="scale_bits: no such second level"):
            quantize(weights(), "int4", scale_bits=bits)


class TestBadInput:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
    def test_not_finite(self, bad: float) -> None:
        matrix = weights().astype(np.float64)
        matrix[3, 7] = bad
        with pytest.raises(FormatError, match=r"^weight\[3, 7\]: not a finite FP32 number"):
            quantize(matrix, "bitmod4")

    @pytest.mark.parametrize(
        "bad",
        [np.zeros(4), np.zeros((2, 2, 2)), np.zeros((0, 4)), np.zeros((4, 0)), np.float32(1), []],
    )
    def test_not_a_matrix(self, bad: object) -> None:
        with pytest.raises(FormatError, match=r"^weight: not a matrix"):
            quantize(bad, "int4")

    @pytest.mark.parametrize("bad", [np.zeros((2, 2), complex), [["a", "b"]], [[None, None]]])
    def test_not_numbers(self, bad: object) -> None:
        with pytest.raises(FormatError, match=r"^weight: not numbers"):
            quantize(bad, "int4")

    def test_ragged(self) -> None:
        with pytest.raises(FormatError, match="not a matrix"):
            quantize([[1.0, 2.0], [3.0]], "int4")

    @pytest.mark.parametrize("size", [0, -1, 2.5, "many", True, "-4", ""])
    def test_group_size(self, size: object) -> None:
        with pytest.raises(FormatError, match="not a group size"):
            quantize(weights(), "int4", group_size=size)

    def test_fixed_groups(self) -> None:
        with pytest.raises(FormatError, match="mxfp4: the format fixes its own groups"):
            quantize(weights(), "mxfp4", group_size=64)
        assert quantize(weights(), "mxfp4", group_size=32).group_size == 32

    def test_olive_needs_whole_pairs(self) -> None:
        with pytest.raises(FormatError, match="a group must hold whole pairs"):
            quantize(weights(), "olive4", group_size=5)

    def test_unknown_names(self) -> None:
        with pytest.raises(FormatError, match="unknown format 'bitmod5': did you mean"):
            quantize(weights(), "bitmod5")
        with pytest.raises(FormatError, match="method: unknown method 'rnt': did you mean rtn"):
            quantize(weights(), "int4", method="rnt")
        with pytest.raises(FormatError, match="method rtn: unknown option 'inputs'"):
            quantize(weights(), "int4", inputs=weights())

    def test_candidates_of_one_grid(self) -> None:
        with pytest.raises(FormatError, match="one grid only"):
            candidate_errors(weights(), "int4", PerGroup(64))
