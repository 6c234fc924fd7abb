"""OliVe: an outlier takes its neighbour's place.

Code layout, a pair (even, odd) of 4-bit codes at a time: a normal value is int4 times 4 in two's
complement; the code 1000 marks a victim, whose value is 0 and whose neighbour is an outlier:
sign | two exponent bits | one mantissa bit, +-(1 + mantissa/2) * 2^(5 + exponent), where the
codes of +-32 are left out (one of them is the marker).

Source: OliVe, arXiv 2304.07493.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import FormatError
from plait.models.formats.base import Format
from plait.models.formats.integer import twos_complement

__all__ = ["FORMATS", "VICTIM", "OutlierVictimFormat"]

VICTIM = 0b1000
_NORMAL_UNIT = 4
_OUTLIER_BASE_EXPONENT = 5
_NORMAL, _OUTLIER = 0, 1


@dataclass(frozen=True, slots=True)
class OutlierVictimFormat(Format):
    """Row 0 of the table reads normal codes (the marker as 0), row 1 outlier codes.

    ``encode`` and ``decode`` work on pairs along the last axis; a value without a partner (odd
    length) is always normal. The partner's code says which row reads a code, so ``selector`` has
    nothing to choose.
    """

    @property
    def largest_normal(self) -> float:
        """The end of the normal values, in grid units."""
        return float(np.nanmax(self.table[_NORMAL]))

    def grid(self, selector: int = 0) -> NDArray[np.float64]:
        """Normal values and outliers together, sorted."""
        if selector:
            raise FormatError("its pairs choose, not selectors", where=self.name, got=selector)
        return _union(self)[0]

    def thresholds(self, selector: int = 0, dtype: type = np.float64) -> NDArray[Any]:
        """Midpoints of the united grid; a tie goes to the lower neighbour."""
        grid = self.grid(selector)
        return ((grid[:-1] + grid[1:]) / 2).astype(dtype)

    def encode(self, values: ArrayLike, selector: int = 0) -> NDArray[np.unsignedinteger[Any]]:
        """Nearest of all values, then an outlier zeroes its neighbour; of two the even survives."""
        numbers = np.array(values, dtype=np.float64)
        if numbers.ndim == 0 or not np.isfinite(numbers).all():
            raise FormatError(
                "pairs of finite values along the last axis expected", where=self.name
            )
        paired = numbers.shape[-1] // 2 * 2
        numbers[..., paired:] = numbers[..., paired:].clip(
            -self.largest_normal, self.largest_normal
        )
        grid, union_codes = _union(self)
        index = np.searchsorted(self.thresholds(selector), numbers, side="left")
        codes, outlier = union_codes[index], np.abs(grid[index]) > self.largest_normal
        even, odd = slice(0, paired, 2), slice(1, paired, 2)
        codes[..., odd][outlier[..., even]] = VICTIM
        codes[..., even][outlier[..., odd] & ~outlier[..., even]] = VICTIM
        return codes

    def decode(self, codes: ArrayLike, selector: ArrayLike = 0) -> NDArray[np.float32]:
        """The value of each code, read by its partner."""
        indices = np.asarray(codes)
        row = np.full(indices.shape, _NORMAL)
        paired = indices.shape[-1] // 2 * 2 if indices.ndim else 0
        even, odd = slice(0, paired, 2), slice(1, paired, 2)
        row[..., even][indices[..., odd] == VICTIM] = _OUTLIER
        row[..., odd][indices[..., even] == VICTIM] = _OUTLIER
        return Format.decode(self, indices, row)


@cache
def _union(fmt: OutlierVictimFormat) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Sorted values and their codes; the marker is no value."""
    table = fmt.table.copy()
    table[_NORMAL, VICTIM] = np.nan
    row, code = np.nonzero(np.isfinite(table))
    order = np.argsort(table[row, code])
    return table[row, code][order], code[order].astype(np.uint8)


def _outliers() -> NDArray[np.float64]:
    code = np.arange(8)
    magnitude = (1 + (code & 1) / 2) * np.exp2(_OUTLIER_BASE_EXPONENT + (code >> 1))
    magnitude[0] = np.nan
    return np.concatenate([magnitude, -magnitude])[np.newaxis]


def _table() -> NDArray[np.float64]:
    table = np.concatenate([_NORMAL_UNIT * twos_complement(4), _outliers()])
    table[_NORMAL, VICTIM] = 0.0
    return table


FORMATS = (
    OutlierVictimFormat(
        name="olive4",
        code_bits=4,
        table=_table(),
        ties_even=(False, False),
        scale_rule="outlier_search",
        term_form="signed_binary",
        summary="int4, and outliers that zero their neighbour",
    ),
)
