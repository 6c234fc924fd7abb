"""Every code of every format, from one class over the registry."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from xml.etree import ElementTree

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.show import grids

EXPECTED_NAMES = """
int2 int3 int4 int5 int6 int7 int8
int2-asym int3-asym int4-asym int5-asym int6-asym int7-asym int8-asym
fp3 fp4 fp5-e2m2 fp5-e3m1 fp6-e2m3 fp6-e3m2 fp8-e4m3 fp8-e5m2 fp16 bf16 bitmod3 bitmod4
flint4 flint5 pot4 ant4 olive4 mxfp4 mxfp6-e2m3 mxfp6-e3m2 mxfp8-e4m3 mxfp8-e5m2
mxint8 nvfp4 ternary
"""

NAMES = [name for name in formats.names() if formats.get(name).has_table]
ROWS = [(name, s) for name in NAMES for s in range(formats.get(name).selectors)]
PLAIN_ROWS = [(name, s) for name, s in ROWS if name != "olive4"]  # its codes come in pairs


def usable_codes(fmt: Format, selector: int) -> np.ndarray:
    return np.flatnonzero(np.isfinite(fmt.table[selector]))


def both_signs(*magnitudes: float) -> list[float]:
    return sorted({sign * m for m in magnitudes for sign in (-1.0, 1.0)})


def test_all_names_are_there() -> None:
    assert set(EXPECTED_NAMES.split()) <= set(formats.names())


# The grids as the papers list them, scaled to integers.
GRIDS = {
    "fp3": both_signs(0, 1, 2, 4),
    "fp4": both_signs(0, 1, 2, 3, 4, 6, 8, 12),
    "flint4": both_signs(0, 1, 2, 3, 4, 6, 8, 16),
    "pot4": both_signs(0, 1, 2, 4, 8, 16, 32, 64),
    "fp5-e2m2": both_signs(0, *range(1, 9), 10, 12, 14, 16, 20, 24, 28),
    "fp5-e3m1": both_signs(0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192),
    "flint5": both_signs(0, *range(1, 9), 10, 12, 14, 16, 24, 32, 64),
    "fp6-e2m3": both_signs(0, *range(1, 17), *range(18, 33, 2), *range(36, 61, 4)),
    "fp6-e3m2": both_signs(
        0,
        *range(1, 9),
        *range(10, 17, 2),
        *range(20, 33, 4),
        *range(40, 65, 8),
        *range(80, 129, 16),
        *range(160, 257, 32),
        *(320, 384, 448),
    ),
    "olive4": both_signs(*range(0, 29, 4), 48, 64, 96, 128, 192, 256, 384),
    "ternary": [-1, 0, 1],
}
GRIDS |= {f"int{b}": list(range(1 - 2 ** (b - 1), 2 ** (b - 1))) for b in range(2, 9)}
GRIDS |= {f"int{b}-asym": list(range(2**b)) for b in range(2, 9)}
SPECIAL_VALUES = {"bitmod3": ("fp3", (3, -3, 6, -6)), "bitmod4": ("fp4", (10, -10, 16, -16))}


@pytest.mark.parametrize("name", GRIDS)
def test_grid(name: str) -> None:
    assert formats.get(name).grid().tolist() == GRIDS[name]


@pytest.mark.parametrize("name", SPECIAL_VALUES)
def test_bitmod_puts_the_special_value_at_minus_zero(name: str) -> None:
    fmt = formats.get(name)
    base, special = SPECIAL_VALUES[name]
    for selector, value in enumerate(special):
        assert fmt.grid(selector).tolist() == sorted([*GRIDS[base], value])
        assert fmt.encode([value], selector).tolist() == [1 << (fmt.code_bits - 1)]


def test_ant_chooses_between_its_parts() -> None:
    assert [formats.get("ant4").grid(s).tolist() for s in (0, 1)] == [
        GRIDS["int4"],
        GRIDS["flint4"],
    ]
    assert formats.get("ant4-pot4").grid(2).tolist() == GRIDS["pot4"]


ORACLES = {
    "fp8-e4m3": ml_dtypes.float8_e4m3fn,
    "fp8-e5m2": ml_dtypes.float8_e5m2,
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
    "mxfp4": ml_dtypes.float4_e2m1fn,
    "mxfp6-e2m3": ml_dtypes.float6_e2m3fn,
    "mxfp6-e3m2": ml_dtypes.float6_e3m2fn,
    "mxfp8-e4m3": ml_dtypes.float8_e4m3fn,
    "mxfp8-e5m2": ml_dtypes.float8_e5m2,
    "nvfp4": ml_dtypes.float4_e2m1fn,
}
SCALED_ORACLES = {
    "fp4": (ml_dtypes.float4_e2m1fn, 2),
    "fp6-e2m3": (ml_dtypes.float6_e2m3fn, 8),
    "fp6-e3m2": (ml_dtypes.float6_e3m2fn, 16),
}


class TestAgainstMlDtypes:
    @pytest.mark.parametrize("name", ORACLES)
    def test_every_code(self, name: str) -> None:
        fmt = formats.get(name)
        codes = np.arange(1 << fmt.code_bits)
        raw = codes.astype(np.uint8 if fmt.code_bits <= 8 else np.uint16)
        with np.errstate(invalid="ignore"):
            expected = raw.view(ORACLES[name]).astype(np.float32)
        assert np.array_equal(fmt.decode(codes), expected, equal_nan=True)
        assert np.array_equal(np.signbit(fmt.decode(codes)), np.signbit(expected))

    @pytest.mark.parametrize("name", SCALED_ORACLES)
    def test_every_code_of_an_integer_grid(self, name: str) -> None:
        fmt, (oracle, unit) = formats.get(name), SCALED_ORACLES[name]
        codes = np.arange(1 << fmt.code_bits, dtype=np.uint8)
        assert (fmt.decode(codes) == unit * codes.view(oracle).astype(np.float32)).all()

    @pytest.mark.parametrize("name", ORACLES)
    def test_rounding(self, name: str) -> None:
        """Values between, on and beside every midpoint, both signs, and beyond the end."""
        fmt = formats.get(name)
        grid = fmt.grid().astype(np.float32)
        middle = ((fmt.grid()[:-1] + fmt.grid()[1:]) / 2).astype(np.float32)
        beside = [np.nextafter(middle, np.float32(side)) for side in (-np.inf, np.inf)]
        numbers = np.concatenate(
            [grid, middle, *beside, [-0.0], 1.5 * grid[[0, -1]] if fmt.code_bits < 16 else []]
        )
        numbers = numbers.astype(np.float32)
        expected = numbers.clip(grid[0], grid[-1]).astype(ORACLES[name])
        assert (fmt.encode(numbers) == expected.view(fmt.encode(numbers).dtype)).all()


class TestEveryFormat:
    @pytest.mark.parametrize(("name", "selector"), PLAIN_ROWS)
    def test_decode_reads_the_table(self, name: str, selector: int) -> None:
        fmt = formats.get(name)
        codes = np.arange(1 << fmt.code_bits)
        decoded = fmt.decode(codes, selector)
        assert decoded.dtype == np.float32
        assert np.array_equal(decoded, fmt.table[selector].astype(np.float32), equal_nan=True)

    @pytest.mark.parametrize(("name", "selector"), PLAIN_ROWS)
    def test_encode_inverts_decode(self, name: str, selector: int) -> None:
        """Exactly; where two codes mean the same value, the lowest or the sign's own is given."""
        fmt = formats.get(name)
        codes = usable_codes(fmt, selector)
        again = fmt.encode(fmt.decode(codes, selector), selector)
        differ = again != codes
        if fmt.keeps_minus_zero:
            assert not differ.any()
        else:
            assert fmt.table[selector, codes[differ]].tolist() in ([], [0.0])

    @pytest.mark.parametrize(("name", "selector"), PLAIN_ROWS)
    def test_unused_codes_never_come_out(self, name: str, selector: int) -> None:
        fmt = formats.get(name)
        grid = fmt.grid(selector)
        spread = np.linspace(2 * grid[0], 2 * grid[-1], 4001) if fmt.code_bits < 16 else grid
        assert np.isfinite(fmt.decode(fmt.encode(spread, selector), selector)).all()

    @pytest.mark.parametrize(("name", "selector"), PLAIN_ROWS)
    def test_ties(self, name: str, selector: int) -> None:
        fmt = formats.get(name)
        grid = fmt.grid(selector)
        codes = fmt.encode((grid[:-1] + grid[1:]) / 2, selector)
        low, high = fmt.encode(grid[:-1], selector), fmt.encode(grid[1:], selector)
        expected = np.where(low % 2 == 0, low, high) if fmt.ties_even[selector] else low
        # by value: a tie towards zero keeps its sign in IEEE-like formats
        assert (fmt.decode(codes, selector) == fmt.decode(expected, selector)).all()

    @pytest.mark.parametrize("name", NAMES)
    def test_terms_sum_to_the_table(self, name: str) -> None:
        fmt = formats.get(name)
        if fmt.is_asymmetric or fmt.code_bits > 8:
            with pytest.raises(FormatError, match="no table of terms"):
                fmt.terms()
            return
        terms = fmt.terms()
        assert (terms.values() == np.where(np.isfinite(fmt.table), fmt.table, 0)).all()
        assert terms.sign.shape == (*fmt.table.shape, fmt.term_count)
        assert terms.man.max() == 1
        assert terms.sign.max() <= 1

    @pytest.mark.parametrize("name", NAMES)
    def test_bits_cover_the_values(self, name: str) -> None:
        fmt = formats.get(name)
        assert fmt.code_bits <= fmt.bits <= fmt.code_bits + 0.5
        assert fmt.bits_per_weight(None, 4096) >= fmt.code_bits
        assert fmt.summary

    @pytest.mark.parametrize("name", NAMES)
    def test_is_a_value(self, name: str) -> None:
        fmt = formats.get(name)
        for same in (copy.deepcopy(fmt), pickle.loads(pickle.dumps(fmt))):
            assert same == fmt
            assert hash(same) == hash(fmt)
        with pytest.raises(ValueError, match="read-only"):
            fmt.table[0, 0] = 1

    @pytest.mark.parametrize("name", NAMES)
    def test_refuses_what_has_no_code(self, name: str) -> None:
        fmt = formats.get(name)
        for bad in (np.nan, np.inf, -np.inf):
            with pytest.raises(FormatError):
                fmt.encode([0.0, bad])
        with pytest.raises(FormatError, match="does not fit"):
            fmt.decode([0, 1 << fmt.code_bits])
        with pytest.raises(FormatError, match="not integers"):
            fmt.decode([0.0, 1.0])
        if name != "olive4":  # its pairs choose
            with pytest.raises(FormatError, match="no such selector"):
                fmt.decode([0, 1], fmt.selectors)
        with pytest.raises(FormatError):
            fmt.grid(fmt.selectors)

    def test_formats_of_one_name_and_other_values_differ(self) -> None:
        """Derived grids are cached by format: the table must count."""
        first = formats.get("fp3")
        second = replace(first, table=2 * first.table)
        assert first != second
        assert (second.grid() == 2 * first.grid()).all()


@given(
    row=st.sampled_from(PLAIN_ROWS),
    number=st.floats(-1.25, 1.25, width=32),
    single=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_nearest_value(row: tuple[str, int], number: float, single: bool) -> None:
    """No value of the grid is nearer than the one that encode chose (brute force, float64)."""
    fmt, selector = formats.get(row[0]), row[1]
    grid = fmt.grid(selector)
    if fmt.code_bits < 16:
        number *= float(np.abs(grid).max())
    value = np.float32(number) if single else np.float64(number)
    chosen = float(fmt.decode(fmt.encode(value, selector), selector))
    distances = np.abs(grid - float(value))
    assert abs(chosen - float(value)) == distances.min()


@given(
    bits=st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16]),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 300),
)
@settings(max_examples=100, deadline=None)
def test_pack_and_unpack(bits: int, seed: int, count: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << bits, count)
    packed = formats.pack_codes(codes, bits)
    stream = int.from_bytes(packed.tobytes(), "little")  # the documented order, said another way
    assert packed.size == -(-count * bits // 8)
    assert [stream >> (bits * i) & ((1 << bits) - 1) for i in range(count)] == codes.tolist()
    assert stream >> (bits * count) == 0
    assert formats.unpack_codes(packed, count, bits).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", [3, 4, 7])
def test_pack_across_blocks(bits: int) -> None:
    codes = np.random.default_rng(0).integers(0, 1 << bits, (1 << 19) + 13)
    assert (formats.unpack_codes(formats.pack_codes(codes, bits), codes.size, bits) == codes).all()


def test_packing_refuses() -> None:
    with pytest.raises(FormatError, match="does not fit, got 16, expected 4 bits"):
        formats.pack_codes(np.array([3, 16]), 4)
    with pytest.raises(FormatError, match="does not fit, got -1"):
        formats.pack_codes(np.array([-1, 2]), 4)
    with pytest.raises(FormatError, match="wrong length, got '2 bytes', expected 1 bytes"):
        formats.unpack_codes(np.zeros(2, np.uint8), 2, 4)


class TestTerms:
    @pytest.mark.parametrize(
        ("name", "value", "digits"),
        [("int6", -31, [1, 0, -2]), ("int8", 93, [1, -1, 2, 1])],
    )
    def test_booth_digits(self, name: str, value: int, digits: list[int]) -> None:
        fmt = formats.get(name)
        terms, code = fmt.terms(), int(fmt.encode([float(value)])[0])
        sign, man, exp = terms.sign[0, code], terms.man[0, code], terms.exp[0, code]
        assert ((-1.0) ** sign * man * 2.0**exp).tolist() == digits
        assert terms.shift.tolist() == [2 * k for k in range(len(digits))]

    @pytest.mark.parametrize(
        ("name", "count"),
        {
            "int2": 1, "int3": 2, "int4": 2, "int5": 3, "int6": 3, "int7": 4, "int8": 4,
            "ternary": 1, "fp3": 2, "fp4": 2, "bitmod3": 2, "bitmod4": 2, "flint4": 2,
            "fp6-e2m3": 3, "fp6-e3m2": 3, "mxfp4": 2, "nvfp4": 2, "mxint8": 4,
        }.items(),
    )  # fmt: skip
    def test_cycles_of_the_published_machine(self, name: str, count: int) -> None:
        assert formats.get(name).term_count == count

    @pytest.mark.parametrize(
        ("value", "powers"), [(12, [3, 2]), (10, [3, 1]), (6, [2, 1]), (3, [1, 0]), (-10, [3, 1])]
    )
    def test_two_ones_of_a_magnitude(self, value: int, powers: list[int]) -> None:
        fmt = formats.get("bitmod4")
        selector = 1 if value == -10 else 0
        terms, code = fmt.terms(), int(fmt.encode([float(value)], selector)[0])
        assert terms.exp[selector, code].tolist() == powers
        assert terms.sign[selector, code].tolist() == [int(value < 0)] * 2
        assert terms.exponent_bits == 3


class TestOlive:
    """The pair decides: a marker (1000) makes its neighbour an outlier."""

    fmt = formats.get("olive4")

    def test_every_pair_of_codes(self) -> None:
        codes = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1)
        decoded = self.fmt.decode(codes)
        canonical = np.isfinite(decoded).all(-1) & ~(codes == 8).all(-1)
        assert canonical.sum() == 15 * 15 + 2 * 14
        again = self.fmt.encode(decoded[canonical])
        assert (self.fmt.decode(again) == decoded[canonical]).all()
        assert (again == codes[canonical]).all()

    @pytest.mark.parametrize(
        ("pair", "decoded"),
        [
            ([5.0, 9.0], [4.0, 8.0]),
            ([100.0, 9.0], [96.0, 0.0]),
            ([9.0, -100.0], [0.0, -96.0]),
            ([100.0, -300.0], [96.0, 0.0]),  # the even one survives, not the larger
            ([38.0, 0.0], [28.0, 0.0]),  # on the midpoint: the lower neighbour
            ([1000.0, 0.0], [384.0, 0.0]),
        ],
    )
    def test_pairs(self, pair: list[float], decoded: list[float]) -> None:
        assert self.fmt.decode(self.fmt.encode(pair)).tolist() == decoded

    def test_a_value_without_a_partner_is_normal(self) -> None:
        assert self.fmt.decode(self.fmt.encode([0.0, 0.0, 300.0])).tolist() == [0.0, 0.0, 28.0]


class TestStorage:
    """True bits a weight, against the published tables."""

    @pytest.mark.parametrize(
        ("name", "group", "channel", "outputs", "bits"),
        [
            ("bitmod4", 128, 4096, None, 4 + 10 / 128 + 16 / 4096),
            ("int4", 64, 576, None, 4 + 8 / 64 + 16 / 576),
            ("bitmod3", 128, 200, None, 3 + 2 * 10 / 200 + 16 / 200),  # a short last group
            ("int8", "channel", 4096, None, 8 + 24 / 4096),
            ("mxfp4", None, 4096, 4096, 4.25),
            ("mxfp6-e2m3", None, 4096, 4096, 6.25),
            ("mxfp8-e5m2", None, 4096, 4096, 8.25),
            ("nvfp4", None, 4096, 4096, 4.500001907),
            ("nvfp4", None, 4096, 11008, 4.50000071),
            ("fp16", 128, 4096, 4096, 16.0),
        ],
    )
    def test_bits(self, name, group, channel, outputs, bits) -> None:
        measured = formats.get(name).bits_per_weight(group, channel, outputs=outputs)
        assert measured == pytest.approx(bits, rel=1e-9)

    def test_a_tensor_scale_of_16_bits(self) -> None:
        bits = formats.get("ternary").bits_per_weight(None, 4096, scale_bits=16, outputs=4096)
        assert bits == pytest.approx(2.000000954, rel=1e-9)

    def test_group_affine_with_16_bit_scales(self) -> None:
        bits = formats.get("int4-asym").bits_per_weight(128, 4096, scale_bits=16)
        assert bits == 4.15625


class TestRegistry:
    def test_unknown_name(self) -> None:
        with pytest.raises(FormatError, match="unknown format 'bitmod5': did you mean bitmod"):
            formats.get("bitmod5")

    @pytest.mark.parametrize("bad", [None, 4, ["int4"], {}])
    def test_no_name(self, bad: object) -> None:
        with pytest.raises(FormatError, match="unknown format"):
            formats.get(bad)

    def test_taken_name(self) -> None:
        with pytest.raises(FormatError, match="a format of this name exists"):
            formats.register(formats.get("int4"))

    def test_wrong_table(self) -> None:
        with pytest.raises(FormatError, match="wrong shape"):
            Format("broken", 4, np.zeros((1, 8)), (False,), "absmax_grid", "too few codes")


class TestNotebook:
    @pytest.mark.parametrize("name", formats.names())
    def test_shows_bits_and_every_value(self, name: str) -> None:
        fmt = formats.get(name)
        shown = ElementTree.fromstring(f"<div>{fmt._repr_html_()}</div>")
        assert shown.findtext("table/caption") == f"{name}: {fmt.summary}"
        heads = [cell.text for cell in shown.iterfind(".//th")]
        facts = dict(zip(heads, [cell.text for cell in shown.iterfind(".//td")], strict=True))
        assert facts["bits a value"] == f"{fmt.bits:g}"
        assert facts["terms"] == (str(fmt.term_count) if fmt.term_form else "none")
        ticks = [path.get("d").count("v12") for path in shown.iterfind(".//{*}path")][1::2]
        drawn = grids(fmt)
        assert len(ticks) == len(drawn) == (int(facts["grids"]) if fmt.has_table else 0)
        for count, grid in zip(ticks, drawn, strict=True):
            assert count == len(grid) or len(grid) > 30  # of many some share a pixel
            assert count > 1
