"""SRAM energy and area from CACTI 7 tables, by interpolation.

Between table points, cost is linear in the word's width (a word costs its decoder plus its
bitlines) and a power law in capacity (straight on log-log axes). The tables' own points come back
exactly. Below the narrowest word the line continues; above the widest, words stand side by side;
capacity beyond the table follows its last slope.

Measured error, as the tests state it: leaving out one inner point and interpolating over the
doubled gap, in the mean 8.9 % (read), 5.3 % (write), 7.3 % (area) along width and 6.4 %, 6.8 %,
6.3 % along capacity, at worst 40 %; CACTI's own steps from one bank organisation to the next are
that large. A buffer that must be certain needs its own CACTI run: add the point to the table.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError

__all__ = ["BankCost", "BufferCost", "bank_cost", "buffer_cost"]

Array = NDArray[np.float64]
_DATA = Path(__file__).parent / "data"
_QUANTITIES = ["read_pj", "write_pj", "area_mm2"]


class BankCost(NamedTuple):
    """Cost of one bank; arrays of one shape."""

    read_pj: Array
    write_pj: Array
    area_mm2: Array


class BufferCost(NamedTuple):
    """Cost of a buffer: a read takes a word of every bank, a write fills one port width."""

    read_pj: Array
    write_pj: Array
    area_mm2: Array


def buffer_cost(
    node_nm: int,
    capacity_bytes: ArrayLike,
    row_bits: ArrayLike,
    banks: ArrayLike,
    write_port_bits: ArrayLike,
) -> BufferCost:
    """Cost a banked buffer by the rule of BitMoD's published simulator.

    Args:
        node_nm: process, 22 or 28.
        capacity_bytes: the whole buffer.
        row_bits: bits that one read delivers, over all banks.
        banks: equal banks that a read takes its word from.
        write_port_bits: bits of one write; it costs its share of a bank's word.

    >>> [round(float(x), 4) for x in buffer_cost(28, 512 * 1024, 512, 8, 64)]  # 64 rows x 8 bits
    [92.7944, 10.4192, 1.6019]
    """
    banks = np.asarray(banks, dtype=np.float64)
    width = np.asarray(row_bits, dtype=np.float64) / banks
    bank = bank_cost(node_nm, np.asarray(capacity_bytes, dtype=np.float64) / banks, width)
    share = np.asarray(write_port_bits, dtype=np.float64) / width
    return BufferCost(banks * bank.read_pj, bank.write_pj * share, banks * bank.area_mm2)


def bank_cost(node_nm: int, capacity_bytes: ArrayLike, width_bits: ArrayLike) -> BankCost:
    """Interpolate one bank's cost.

    Args:
        node_nm: process, 22 or 28.
        capacity_bytes: of one bank.
        width_bits: of one word.

    >>> [float(x) for x in bank_cost(28, 65536, 64)]
    [11.5993, 10.4192, 0.200237]
    """
    capacity, width = np.broadcast_arrays(
        np.asarray(capacity_bytes, dtype=np.float64), np.asarray(width_bits, dtype=np.float64)
    )
    # A sweep repeats few distinct banks a million times: interpolate each once.
    pairs = capacity.ravel() + 1j * width.ravel()
    index, distinct = pd.factorize(pairs)
    costs = _interpolate(node_nm, distinct.real, distinct.imag)[:, index]
    return BankCost(*costs.reshape(3, *capacity.shape))


def _interpolate(node_nm: int, capacity: Array, width: Array) -> Array:
    """Give [3 quantities, banks]: along width in every capacity's row, then between two rows."""
    capacities, rows = _table(node_nm)
    by_row = np.stack([_along_width(widths, values, width) for widths, values in rows])
    place = np.log2(capacity / 1024)
    upper = np.clip(np.searchsorted(capacities, place), 1, len(capacities) - 1)
    low, high = capacities[upper - 1], capacities[upper]
    share = (place - low) / (high - low)
    bank = np.arange(len(width))
    below, above = by_row[upper - 1, :, bank].T, by_row[upper, :, bank].T
    between = np.exp2(np.log2(below) * (1 - share) + np.log2(above) * share)
    # exp2(log2(x)) loses the last bit: at a table's capacity take the row itself
    return np.where(share == 1, above, np.where(share == 0, below, between))


def _along_width(widths: Array, values: Array, width: Array) -> Array:
    """Linear in width; values [points, 3] -> [3, banks]."""
    inside = np.minimum(width, widths[-1])
    right = np.clip(np.searchsorted(widths, inside), 1, len(widths) - 1)
    share = (inside - widths[right - 1]) / (widths[right] - widths[right - 1])
    line = values[right - 1] * (1 - share)[:, None] + values[right] * share[:, None]
    beside = np.maximum(width / widths[-1], 1.0)
    exact = np.where((share == 1)[:, None], values[right], line)
    return (exact * beside[:, None]).T


@functools.cache
def _table(node_nm: int) -> tuple[Array, list[tuple[Array, Array]]]:
    """Read one node: log2 of the capacities in KiB, and for each its widths and costs."""
    points = sram_points()
    points = points[points["node_nm"] == node_nm]
    if points.empty:
        known = sorted(sram_points()["node_nm"].unique())
        raise SpecError("no SRAM table", where="technology.node_nm", got=node_nm,
                        expected=" or ".join(map(str, known)))  # fmt: skip
    rows, capacities = [], []
    for capacity_kib, group in points.groupby("capacity_kib"):
        ordered = group.sort_values("width_bits")
        capacities.append(np.log2(float(capacity_kib)))  # type: ignore[arg-type]
        rows.append(
            (ordered["width_bits"].to_numpy(np.float64), ordered[_QUANTITIES].to_numpy(np.float64))
        )
    return np.array(capacities), rows


def sram_points() -> pd.DataFrame:
    """Read every CACTI point of the tables, a row a bank."""
    files = sorted(_DATA.glob("sram_*.csv"))
    return pd.concat([pd.read_csv(file, comment="#") for file in files], ignore_index=True)
