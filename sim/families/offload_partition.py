"""How the attention of a batch is divided over the memory devices, and how even that is.

Head level: every device holds all requests and some KV heads. Request level: a device holds whole
requests. Token level: every device holds a slice of every request, and the partial softmaxes are
combined (Infinite-LLM, arXiv 2401.02669). Lengths are in tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError

__all__ = [
    "combine_values",
    "head_level",
    "imbalance",
    "longest_first",
    "round_robin",
    "token_level",
]

Integers = NDArray[np.int64]


def imbalance(loads: ArrayLike) -> float:
    """Load of the fullest device over the mean: the factor on the time of attention.

    >>> imbalance([3, 1])
    1.5
    """
    values = np.asarray(loads, dtype=np.float64)
    return float(values.max() / values.mean())


def head_level(lengths: Sequence[int], devices: int, kv_heads: int) -> NDArray[np.float64]:
    """Loads when every device serves kv_heads / devices heads of all requests: always equal."""
    if kv_heads % devices:
        raise SpecError(
            f"{kv_heads} KV heads cannot be divided equally over the memory devices",
            where="memory.count",
            got=devices,
            expected=f"a divisor of {kv_heads}, or partition request or token",
        )
    return np.full(devices, sum(lengths) / devices)


def round_robin(lengths: Sequence[int], devices: int) -> Integers:
    """Loads when request i goes to device i mod ``devices``.

    >>> round_robin([5, 1, 2], 2)
    array([7, 1])
    """
    loads = np.zeros(devices, dtype=np.int64)
    np.add.at(loads, np.arange(len(lengths)) % devices, np.asarray(lengths, dtype=np.int64))
    return loads


def longest_first(lengths: Sequence[int], devices: int) -> Integers:
    """Loads when requests, the longest first, go to the least loaded device (lowest number).

    >>> longest_first([5, 1, 2], 2)
    array([5, 3])
    """
    heap = [(0, device) for device in range(devices)]
    for length in sorted(lengths, reverse=True):
        load, device = heap[0]
        heapq.heapreplace(heap, (load + int(length), device))
    loads = np.zeros(devices, dtype=np.int64)
    for load, device in heap:
        loads[device] = load
    return loads


def token_level(lengths: Sequence[int], devices: int) -> Integers:
    """Loads when device j holds floor((length + j) / devices) tokens of each request.

    >>> token_level([5, 1, 2], 2)
    array([3, 5])
    """
    each = np.asarray(lengths, dtype=np.int64)[:, None] + np.arange(devices)
    return (each // devices).sum(axis=0)


def combine_values(width: Any, heads: Any) -> Any:
    """Values a shard returns a query token: weighted values, and maximum and sum of each head.

    >>> combine_values(width=8192, heads=64)
    8320
    """
    return width + 2 * heads
