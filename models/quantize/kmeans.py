"""Clustering that gives the same result every time: the exact optimum in one dimension, and
weighted k-means from farthest points in more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from plait.models.quantize._nearest import (
    BLOCK_ENTRIES,
    farthest_points,
    nearest_entries,
    sum_by_label,
)

__all__ = ["Book", "Clusters", "best_palette", "cluster_vectors", "nearest"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Centroids float64 [k, v] and the rounds that moved them."""

    centroids: Float64
    rounds: int


def best_palette(values: NDArray[Any], entries: int) -> tuple[Float64, float]:
    """The optimal one-dimensional k-means: centroids, ascending, and their squared error.

    Equal values are one weighted point, so 16-bit weights are at most 65,536 points whatever the
    matrix; the dynamic program over the sorted points is exact.
    """
    points, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    if points.size <= entries:
        return np.pad(points, (0, entries - points.size), mode="edge"), 0.0
    weights = counts.astype(np.float64)
    shift = points.mean()
    sums = [np.concatenate([[0], np.cumsum(weights * (points - shift) ** p)]) for p in range(3)]
    ends = _partition(sums[0], sums[1], sums[2], entries)
    starts = np.concatenate([[0], ends[:-1]])
    mass, first = (part[ends] - part[starts] for part in sums[:2])
    centroids = first / mass + shift
    member = np.repeat(centroids, ends - starts)
    return centroids, float((weights * (points - member) ** 2).sum())


@numba.njit(cache=True)
def _partition(mass, first, second, entries):
    """Ends of the ranges of each cluster; divide and conquer over the last cluster's start."""
    n = mass.size - 1
    before = np.full(n + 1, np.inf)
    before[0] = 0.0
    choice = np.zeros((entries + 1, n + 1), np.int64)
    for k in range(1, entries + 1):
        after = np.full(n + 1, np.inf)
        stack = [(k, n, k - 1, n - 1)]
        while stack:
            low, high, least, most = stack.pop()
            if low > high:
                continue
            i = (low + high) // 2
            best, at = np.inf, least
            for j in range(max(least, k - 1), min(most, i - 1) + 1):
                weight = mass[i] - mass[j]
                moment = first[i] - first[j]
                cost = before[j] + (second[i] - second[j]) - moment * moment / weight
                if cost < best:
                    best, at = cost, j
            after[i] = best
            choice[k, i] = at
            stack.append((low, i - 1, least, at))
            stack.append((i + 1, high, at, most))
        before = after
    ends = np.empty(entries, np.int64)
    i = n
    for k in range(entries, 0, -1):
        ends[k - 1] = i
        i = choice[k, i]
    return ends


def cluster_vectors(
    vectors: Float64, entries: int, weights: Float64 | None = None, rounds: int = 100
) -> Clusters:
    """Weighted k-means [n, v], from farthest points; a cluster without weight keeps its centroid.

    Args:
        vectors: [n, v].
        entries: k.
        weights: [n], each at least 0; None = 1.
        rounds: at most; it stops when no centroid moves (relative 1e-6, absolute 1e-8).
    """
    mass = np.ones(len(vectors)) if weights is None else weights
    vectors = np.ascontiguousarray(vectors, np.float64)
    centroids = farthest_points(vectors, entries)
    for done in range(1, rounds + 1):  # noqa: B007 - the count is the result
        labels = nearest(vectors, centroids)
        total, sums = sum_by_label(vectors, labels, mass, entries)
        moved = np.where(
            total[:, None] > 0, sums / np.where(total > 0, total, 1)[:, None], centroids
        )
        settled = np.allclose(moved, centroids, rtol=1e-6, atol=1e-8)
        centroids = moved
        if settled:
            break
    return Clusters(centroids, done)


class Book:
    """Entries [k, v] made ready to find the nearest of many vectors."""

    def __init__(self, entries: Float64) -> None:
        self.entries = entries
        padding = -len(entries) % BLOCK_ENTRIES
        half = np.pad(np.square(entries).sum(axis=1) / 2, (0, padding), constant_values=np.inf)
        blocks = np.pad(entries, ((0, padding), (0, 0))).reshape(
            -1, BLOCK_ENTRIES, entries.shape[1]
        )
        self._half = half.reshape(-1, BLOCK_ENTRIES)
        self._blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))

    def nearest(self, vectors: Float64) -> NDArray[np.int64]:
        """Index of the nearest entry of each vector [n, v], the first of equals."""
        labels = np.empty(len(vectors), np.int64)
        nearest_entries(np.ascontiguousarray(vectors), self._blocks, self._half, labels)
        return labels


def nearest(vectors: Float64, centroids: Float64) -> NDArray[np.int64]:
    """Index of the nearest centroid of each vector, the first of equals."""
    return Book(centroids).nearest(vectors)
