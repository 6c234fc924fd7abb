"""Counts of times in bins that grow by a constant ratio: [bins, 2], a count and a sum each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "FLOOR_S", "RATIO", "add", "empty", "summarise"]

FLOOR_S = 1e-7
RATIO = 1.001
BINS = 2 + int(math.log(1e9 / FLOOR_S) / math.log(RATIO))  # up to thirty years

Floats = NDArray[np.float64]


def empty() -> Floats:
    """No times yet."""
    return np.zeros((BINS, 2))


def add(bins: Floats, times: Floats) -> None:
    """Count times, in seconds; the kernel counts those between tokens by the same rule."""
    safe = np.maximum(times, FLOOR_S)
    index = 1 + (np.log(safe / FLOOR_S) / math.log(RATIO)).astype(np.int64)
    index = np.where(times <= FLOOR_S, 0, np.minimum(index, BINS - 1))
    np.add.at(bins[:, 0], index, 1)
    np.add.at(bins[:, 1], index, times)


def summarise(bins: Floats) -> dict[str, float]:
    """Give mean, p50, p90 and p99, between the two nearest times as numpy.percentile does.

    >>> bins = empty()
    >>> add(bins, np.array([1.0, 2.0, 4.0]))
    >>> summarise(bins)["p50"], summarise(bins)["p90"]
    (2.0, 3.6)
    """
    count = bins[:, 0].sum()
    if not count:
        return {"mean": 0.0, "p50": 0.0, "p90": 0.0, "p99": 0.0}
    result = {"mean": float(bins[:, 1].sum() / count)}
    upto = np.cumsum(bins[:, 0])
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        rank = share * (count - 1)
        low, high = (_at(bins, upto, math.floor(rank)), _at(bins, upto, math.ceil(rank)))
        result[name] = float(low + (high - low) * (rank - math.floor(rank)))
    return result


def _at(bins: Floats, upto: Floats, rank: int) -> float:
    """Mean of the bin that holds the time with this rank, from 0."""
    k = int(np.searchsorted(upto, rank, side="right"))
    return float(bins[k, 1] / bins[k, 0])
