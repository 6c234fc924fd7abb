"""Flat matrix products (FlashDecoding++, arXiv 2311.01282): few rows, padded to 8 and not to 64.

Sizes: y[m, n] = x[m, k] w[k, n]. The rewrite pads the rows of every linear of a graph, so
``flat-gemm:pad=64`` is a library's kernel and ``flat-gemm:pad=8`` the paper's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.models.graph.graph import Graph
from plait.models.graph.rewrites.base import Rewrite, change_ops

__all__ = ["FlatGEMM", "Thresholds", "intensity", "padded_macs", "thresholds", "utilisation"]

_FLAT, _LIBRARY = 8, 64


@dataclass(frozen=True)
class FlatGEMM(Rewrite):
    """Pad the rows of every matrix product with a weight to a multiple of ``pad``.

    Args:
        pad: rows that the kernel works on at once.
    """

    pad: int = _FLAT

    name: ClassVar = "flat-gemm"
    changes_outputs: ClassVar = False
    effect: ClassVar = "same values; padded rows are computed and left out"

    def __post_init__(self) -> None:
        self.require("pad", 1 <= self.pad <= 1 << 20, "1 to 1048576")

    def change(self, graph: Graph) -> Graph:
        """Pad the linears."""
        return change_ops(
            graph,
            lambda op: dataclasses.replace(op, rows_multiple=self.pad) if op.has_weight else op,
        )


def utilisation(m: int, pad: int = _FLAT) -> float:
    """Share of the padded rows that are real.

    >>> utilisation(1), utilisation(1, 64)
    (0.125, 0.015625)
    """
    return m / _padded(m, pad)


def padded_macs(m: int, n: int, k: int, pad: int = _FLAT) -> int:
    """Multiply-adds with the padded rows."""
    return _padded(m, pad) * n * k


def intensity(m: int, n: int, k: int, tile: int) -> float:
    """Operations an element moved, with tiles of ``tile`` outputs: x is read once a tile."""
    return 2 * m * n * k / (k * n + m * n * k / tile + m * n)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the best kernel changes with m: vector cores, then flat, then the library's.

    Attributes:
        flat: least m for which the flat product is faster than vector cores.
        library: least m from there on for which the library's product is no slower.
    """

    flat: int
    library: int


def thresholds(
    n: int,
    k: int,
    *,
    vector_operations_per_s: float,
    matrix_operations_per_s: float,
    bandwidth_bytes_per_s: float,
    element_bytes: float = 2.0,
    most: int = 4096,
) -> Thresholds:
    """Choose among three kernels by a roofline: the paper's dataflow choice for one (n, k).

    Args:
        vector_operations_per_s: peak without matrix units (CUDA cores), which need no padding.
        matrix_operations_per_s: peak of the matrix units; rows padded to 8, or 64 in the library.
        bandwidth_bytes_per_s: of the memory.
        element_bytes: of weights and activations.
        most: largest m looked at; a threshold that is not reached is most + 1.

    >>> thresholds(4096, 4096, vector_operations_per_s=78e12, matrix_operations_per_s=312e12,
    ...     bandwidth_bytes_per_s=2039e9)
    Thresholds(flat=39, library=39)
    """

    def seconds(m: int, pad: int, peak: float) -> float:
        moved = (k * n + m * k + m * n) * element_bytes
        return max(2 * padded_macs(m, n, k, pad) / peak, moved / bandwidth_bytes_per_s)

    def flat(m: int) -> float:
        return seconds(m, _FLAT, matrix_operations_per_s)

    rows = range(1, most + 1)
    least = next((m for m in rows if flat(m) < seconds(m, 1, vector_operations_per_s)), most + 1)
    later = range(least, most + 1)
    library = (m for m in later if seconds(m, _LIBRARY, matrix_operations_per_s) <= flat(m))
    return Thresholds(least, next(library, most + 1))


def _padded(m: int, pad: int) -> int:
    return -(-m // pad) * pad
