"""``Format``: one number format, the only definition that values, time and gates share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import FormatError
from plait.models.formats.packing import check_codes, code_dtype, pack_codes, unpack_codes
from plait.models.formats.terms import Terms, booth_terms, signed_binary_terms

__all__ = ["DecodeUnit", "Decoder", "Format", "Granularity", "ScaleRule", "codebook_bits"]

_MOST_SCALE_CODE_BITS = 8  # scales this narrow are integers times a step a channel
_STEP_BITS = 16
_TWO_FOUR_BITS = 0.9 * (2 + 16 / 48 + 64 / 768) + 0.1 * 5.25  # a tenth of the columns at 4 bit
_OUTLIER_BITS = 32  # an FP16 value and its column

Granularity = int | Literal["channel", "tensor"]
ScaleRule = Literal[
    "absmax_grid",  # max|w| / max|grid|, clamped to [1e-5, 1e4]
    "absmax_integer",  # max|w| / (2^(b-1) - 1)
    "affine",  # (max - min) / (2^b - 1) and a zero point
    "absmean",  # max(mean|w|, 1e-5)
    "outlier_search",  # three sigma, searched by squared error (OliVe)
    "power_of_two",  # shared E8M0 exponent (MX)
    "two_level",  # E4M3 a block, FP32 a tensor (NVFP4)
    "none",  # the values themselves: fp16, bf16; or a codebook that holds weights
    "row_norm",  # FP16 length of a row (AQLM)
]
Decoder = Literal["table", "palette", "vector", "additive", "two_four"]
DecodeUnit = Literal["lookup_table", "codebook", "expander", "outlier_path", "trit_tree"]

_UNIT_OF_DECODER: dict[str, DecodeUnit] = {
    "palette": "lookup_table",
    "vector": "codebook",
    "additive": "codebook",
    "two_four": "outlier_path",
}


@dataclass(frozen=True, slots=True)
class Format:
    """A number format: its codes, what each means, and how a group of weights is scaled to it.

    Attributes:
        name: registry name.
        code_bits: width of one stored code.
        table: [selectors, 2**code_bits] value of each code in grid units (a scale makes it a
            weight); NaN where a code is never used, infinities where IEEE has them.
        ties_even: a row of ``table`` each: midpoints go to the even code (True) or to the lower
            neighbour (False).
        scale_rule: how plait.models.quantize finds the scale of a group.
        selector_bits: bits a group that choose the row of ``table``.
        group_size: the block length that the format itself fixes, or None.
        default_group_size: the group a user gets without asking.
        block_scale_bits: bits of a block's own scale, if the format fixes them (MX, NVFP4).
        tensor_scale_bits: bits of a further scale a tensor (NVFP4).
        zero_bits: bits of a group's zero point.
        term_form: how ``terms`` writes a value; None where no table of terms can.
        keeps_minus_zero: small negative values encode to minus zero, as IEEE casts do.
        signed_zeros: zero points are two's complement, because they are not clamped.
        decoder: what gives a code its meaning: ``table`` (of this format), or something that each
            tensor brings along: a ``palette`` of values, ``vector`` and ``additive`` codebooks,
            ``two_four`` (columns of two widths). ``table`` is then empty.
        vector: (outputs, inputs) that one vector of a codebook covers.
        books: entries of each codebook or palette.
        outlier_share: part that stays FP16 beside the codes, as the method's paper has it: of the
            weights (``int2-int4``), or of the columns of the activations (``int8-outlier``).
        summary: one line for listings.

    >>> from plait.models.formats import get
    >>> fp4 = get("fp4")
    >>> fp4.encode([2.5, -12.0]).tolist(), fp4.decode([2, 15]).tolist()
    ([2, 15], [2.0, -12.0])
    """

    name: str
    code_bits: int
    table: NDArray[np.float64] = field(compare=False, repr=False)
    ties_even: tuple[bool, ...]
    scale_rule: ScaleRule
    summary: str = field(compare=False, repr=False)
    selector_bits: int = 0
    group_size: int | None = None
    default_group_size: Granularity = 128
    block_scale_bits: int = 0
    tensor_scale_bits: int = 0
    zero_bits: int = 0
    term_form: Literal["booth", "signed_binary"] | None = None
    keeps_minus_zero: bool = False
    signed_zeros: bool = False
    decoder: Decoder = "table"
    vector: tuple[int, int] = (1, 1)
    books: tuple[int, ...] = ()
    outlier_share: float = 0.0
    _digest: bytes = field(init=False, repr=False)  # stands for the table in == and hash

    def __post_init__(self) -> None:
        codes = 1 << self.code_bits if self.has_table else 0
        if self.table.shape != (len(self.ties_even), codes):
            raise FormatError(
                "a table of the wrong shape",
                where=self.name,
                got=self.table.shape,
                expected=f"{(len(self.ties_even), codes)}",
            )
        self.table.setflags(write=False)
        object.__setattr__(self, "_digest", blake2b(self.table.tobytes(), digest_size=16).digest())

    @property
    def selectors(self) -> int:
        """Rows of the table: the grids that a group (OliVe: a pair) can choose from."""
        return int(self.table.shape[0])

    @property
    def has_table(self) -> bool:
        """Whether the format alone says what a code means."""
        return self.decoder == "table"

    @property
    def decode_unit(self) -> DecodeUnit | None:
        """The unit between the memory and an array that runs this format; None if codes will do.

        An array of multipliers does without a ``trit_tree``; without the others it does not run.
        """
        if not self.has_table:
            return _UNIT_OF_DECODER[self.decoder]
        if self.outlier_share:
            return "outlier_path"
        if self.scale_rule == "absmean":
            return "trit_tree"
        return "expander" if self.signed_zeros else None

    @property
    def codes_per_vector(self) -> int:
        """Codes stored for each vector; 1 where a code is one weight."""
        return len(self.books) if self.decoder == "additive" else 1

    def code_shape(self, outputs: int, inputs: int) -> tuple[int, int]:
        """Shape of the array of codes of a matrix [outputs, inputs]."""
        rows, columns = self.vector
        return -(-outputs // rows), -(-inputs // columns) * self.codes_per_vector

    @property
    def is_asymmetric(self) -> bool:
        """Whether a group has a zero point: weight = scale * (code - zero)."""
        return self.zero_bits > 0

    @property
    def is_scaled(self) -> bool:
        """Whether a group has a scale at all."""
        return self.scale_rule != "none"

    @property
    def bits(self) -> float:
        """Bits a value with all overhead that the format itself fixes (mxfp4: 4.25)."""
        if self.decoder == "two_four":
            return _TWO_FOUR_BITS + _OUTLIER_BITS * self.outlier_share
        codes = self.code_bits * self.codes_per_vector / math.prod(self.vector)
        return codes + self.block_scale_bits / (self.group_size or 1)

    def bits_per_weight(
        self,
        group_size: Granularity | None,
        channel: int,
        scale_bits: int = 8,
        outputs: int | None = None,
    ) -> float:
        """Bits a weight in memory: codes, scales, selectors and zero points.

        Args:
            group_size: weights a scale, "channel", "tensor", or None for the format's default.
            channel: weights an output channel (its last group may be short).
            scale_bits: bits of a group's scale; 8 or fewer means a second level, with one FP16
                step a channel.
            outputs: output channels; without it what is stored once a tensor is left out.

        >>> from plait.models.formats import get
        >>> get("bitmod4").bits_per_weight(128, 4096)  # 4 + (8 + 2)/128 + 16/4096
        4.08203125
        """
        weights = channel * outputs if outputs else math.inf
        if not self.has_table:
            return codebook_bits(self, channel, weights)
        bits = float(self.code_bits)
        if not self.is_scaled:
            return bits
        if self.group_size:
            groups = -(-channel // self.group_size)
            return (
                bits + groups * self.block_scale_bits / channel + self.tensor_scale_bits / weights
            )
        group_size = self.default_group_size if group_size is None else group_size
        per_group = scale_bits + self.selector_bits + self.zero_bits
        if group_size == "tensor":
            return bits + per_group / weights
        groups = 1 if group_size == "channel" else -(-channel // group_size)
        step = _STEP_BITS if scale_bits <= _MOST_SCALE_CODE_BITS else 0
        return bits + (groups * per_group + step) / channel

    def grid(self, selector: int = 0) -> NDArray[np.float64]:
        """The values of a row of the table, finite, sorted, each once."""
        return _ladder(self, selector)[0]

    def encode(self, values: ArrayLike, selector: int = 0) -> NDArray[np.unsignedinteger[Any]]:
        """The code of the nearest value; beyond the ends the end itself.

        Args:
            values: numbers already divided by their scale; any shape, NaN and infinities refused.
            selector: the row of the table.
        """
        self._check_table()
        numbers = np.asarray(values)
        if numbers.dtype != np.float32:
            numbers = numbers.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise FormatError("only finite values have a code", where=self.name)
        _, codes = _ladder(self, selector)
        thresholds = self.thresholds(selector, numbers.dtype.type)
        encoded = codes[np.searchsorted(thresholds, numbers, side="left")]
        if self.keeps_minus_zero:
            minus_zero = encoded.dtype.type(1 << (self.code_bits - 1))
            encoded = np.where((encoded == 0) & np.signbit(numbers), minus_zero, encoded)
        return encoded

    def decode(self, codes: ArrayLike, selector: ArrayLike = 0) -> NDArray[np.float32]:
        """The value of each code.

        Args:
            codes: integers of any shape.
            selector: row of the table, one for all or an array that broadcasts against ``codes``.
        """
        self._check_table()
        indices = np.asarray(codes)
        check_codes(indices, self.code_bits)
        rows = np.asarray(selector)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.selectors:
            raise _no_selector(self, int(rows.max()))
        return self.table.astype(np.float32)[rows, indices]

    def thresholds(self, selector: int = 0, dtype: type = np.float64) -> NDArray[Any]:
        """Where the nearest value changes: the index into ``grid`` is the count of thresholds
        below the number.

        Midpoints; one whose tie goes up is moved to the next smaller number of ``dtype``, so that
        one strict comparison serves both rules.
        """
        return _thresholds(self, selector, np.dtype(dtype).str)

    @property
    def term_count(self) -> int:
        """Terms a value: cycles a weight in a bit-serial PE."""
        return self.terms().count

    def terms(self) -> Terms:
        """Every code as signed powers of two; FormatError where the format has no such table."""
        return _terms(self)

    def _check_table(self) -> None:
        if not self.has_table:
            raise FormatError(
                "its codes mean nothing without the tensor that holds their codebook",
                where=self.name,
                expected="QuantizedTensor.dequantize()",
            )

    def _repr_html_(self) -> str:
        from plait.models.formats.show import as_html

        return as_html(self)

    def pack(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Codes to bytes, in the order that ``packing`` states."""
        return pack_codes(codes, self.code_bits)

    def unpack(self, packed: NDArray[np.uint8], count: int) -> NDArray[np.unsignedinteger[Any]]:
        """``count`` codes out of bytes, flat."""
        return unpack_codes(packed, count, self.code_bits)


def codebook_bits(fmt: Format, channel: int, weights: float) -> float:
    """Bits a weight of a format whose tensors bring a codebook: codes, books, what goes with them.

    Books, row scales and column values are FP16; a permutation is 16 bits an input.

    Args:
        channel: weights an output channel.
        weights: of the matrix; infinity leaves out what is stored once a matrix or an input.
    """
    entries = sum(fmt.books) * math.prod(fmt.vector) * _STEP_BITS
    if fmt.decoder == "two_four":
        return fmt.bits
    if fmt.decoder == "vector":
        outputs, length = weights / channel, fmt.vector[0]
        rows = 1 / length if math.isinf(outputs) else -(-outputs // length) / outputs
        words = 32 * -(-channel * fmt.code_bits // 32)  # a row of codes fills whole words
        return words * rows / channel + entries / weights + 3 * _STEP_BITS / outputs
    row = _STEP_BITS / channel if fmt.is_scaled else 0.0
    return fmt.bits + entries / weights + row


def _no_selector(fmt: Format, got: int) -> FormatError:
    return FormatError(
        "no such selector", where=fmt.name, got=got, expected=f"0 to {fmt.selectors - 1}"
    )


@cache
def _ladder(
    fmt: Format, selector: int
) -> tuple[NDArray[np.float64], NDArray[np.unsignedinteger[Any]]]:
    """Sorted values and the code of each (the lowest, so that zero is plus zero)."""
    if not 0 <= selector < fmt.selectors:
        raise _no_selector(fmt, selector)
    row = fmt.table[selector]
    usable = np.flatnonzero(np.isfinite(row))
    grid, first = np.unique(row[usable] + 0.0, return_index=True)
    codes = usable[first].astype(code_dtype(fmt.code_bits))
    grid.setflags(write=False)
    codes.setflags(write=False)
    return grid, codes


@cache
def _thresholds(fmt: Format, selector: int, dtype: str) -> NDArray[Any]:
    grid, codes = _ladder(fmt, selector)
    midpoints = ((grid[:-1] + grid[1:]) / 2).astype(dtype)
    if fmt.ties_even[selector]:
        goes_up = codes[:-1] % 2 == 1
        below = np.nextafter(midpoints, midpoints.dtype.type(-np.inf))
        midpoints = np.where(goes_up, below, midpoints)
    midpoints.setflags(write=False)
    return midpoints


@cache
def _terms(fmt: Format) -> Terms:
    if fmt.term_form == "booth":
        return booth_terms(fmt.table, fmt.code_bits)
    if fmt.term_form == "signed_binary":
        return signed_binary_terms(fmt.table, fmt.code_bits)
    raise FormatError(
        "the format has no table of terms",
        where=fmt.name,
        expected="a symmetric format of at most 8 bits",
    )
