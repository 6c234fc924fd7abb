"""The loops of clustering vectors, compiled by numba.

Results are those of FP64 over all pairs, found with less work. ``nearest_entries`` looks at all
entries in FP32, and in FP64 only at those that its rounding cannot rule out. ``farthest_points``
brings a distance up to date only while it is the largest left: distances never grow.
"""

from __future__ import annotations

import heapq

import numba
import numpy as np

__all__ = ["BLOCK_ENTRIES", "farthest_points", "nearest_entries", "sum_by_label"]

BLOCK_ENTRIES = 32  # entries that are ruled out together
_LANES = 128  # vectors side by side: all that the inner loop reads stays in the first cache
_LARGEST = 1e30  # squares up to which FP32 is trusted
_NO_NAN = {"nnan", "nsz"}  # lets a minimum become vector instructions; rounds nothing differently


@numba.njit(cache=True, fastmath=_NO_NAN | {"contract"})
def _block_minima(lanes, book, half, least, now):
    """The least of half - x c over a block of entries [v, e], for each of the lanes [v, n]."""
    length, count = lanes.shape
    least[:] = np.float32(np.inf)
    for e in range(half.size):
        start = half[e]
        for i in range(count):
            now[i] = start
        for c in range(0, length - 1, 2):  # two at a time halve what is loaded and stored
            one, two = book[c, e], book[c + 1, e]
            for i in range(count):
                now[i] = now[i] - one * lanes[c, i] - two * lanes[c + 1, i]
        if length % 2:
            one = book[length - 1, e]
            for i in range(count):
                now[i] -= one * lanes[length - 1, i]
        for i in range(count):
            least[i] = min(least[i], now[i])


@numba.njit(cache=True)
def _block_nearest(vector, book, half, exact):
    """The least of half - x c over a block of entries in FP64, and where."""
    for e in range(half.size):
        exact[e] = half[e]
    for c in range(vector.size):
        x = vector[c]
        for e in range(half.size):
            exact[e] -= x * book[c, e]
    best, at = exact[0], 0
    for e in range(1, half.size):
        if exact[e] < best:
            best, at = exact[e], e
    return best, at


@numba.njit(cache=True)
def nearest_entries(vectors, book, half, labels):
    """Index of the entry with the least |c|^2 / 2 - x c, the first of equals.

    Args:
        vectors: float64 [n, v].
        book: float64 [blocks, v, BLOCK_ENTRIES].
        half: float64 [blocks, BLOCK_ENTRIES], |c|^2 / 2; infinity for what fills the last block.
        labels: int64 [n], filled.
    """
    n, length = vectors.shape
    blocks, largest = half.shape[0], 0.0
    for square in half.flat:
        if square < np.inf:
            largest = max(largest, square)
    narrow_book, narrow_half = book.astype(np.float32), half.astype(np.float32)
    least = np.empty((blocks, _LANES), np.float32)
    now = np.empty(_LANES, np.float32)
    best, limit = np.empty(_LANES), np.empty(_LANES)
    exact = np.empty(BLOCK_ENTRIES)
    for start in range(0, n, _LANES):
        count = min(_LANES, n - start)
        lanes = np.empty((length, count), np.float32)
        for c in range(length):
            for i in range(count):
                lanes[c, i] = vectors[start + i, c]
        limit[:] = np.inf
        for b in range(blocks):
            _block_minima(lanes, narrow_book[b], narrow_half[b], least[b, :count], now)
            for i in range(count):
                limit[i] = min(limit[i], least[b, i])
        for i in range(count):
            square = 0.0
            for c in range(length):
                square += vectors[start + i, c] ** 2
            # FP32 rounds v + 1 inputs and 2 v results, each by at most 2^-24 of a number that is no
            # larger than |c|^2 / 2 + |x| |c|; both the least and its rival may be wrong so far. The
            # last term is for numbers that FP32 has not.
            size = largest + np.sqrt(2 * square * largest)
            limit[i] += size * (6 * length + 8) * 2.0**-24 + 2.0**-120
            if not (square < _LARGEST and largest < _LARGEST):
                limit[i] = np.inf
            best[i] = np.inf
        for b in range(blocks):
            for i in range(count):
                if least[b, i] <= limit[i]:
                    near, at = _block_nearest(vectors[start + i], book[b], half[b], exact)
                    if near < best[i]:
                        best[i], labels[start + i] = near, b * BLOCK_ENTRIES + at


@numba.njit(cache=True)
def sum_by_label(vectors, labels, mass, entries):
    """Mass [entries] and mass times vector [entries, v] of each label, summed in order."""
    total, sums = np.zeros(entries), np.zeros((entries, vectors.shape[1]))
    for i in range(labels.size):
        total[labels[i]] += mass[i]
        for c in range(vectors.shape[1]):
            sums[labels[i], c] += mass[i] * vectors[i, c]
    return total, sums


@numba.njit(cache=True, fastmath=_NO_NAN)
def _least_square(vector, points, start, stop, squares):
    """The least squared distance to points [v, start:stop]."""
    count = stop - start
    for p in range(count):
        squares[p] = 0.0
    for c in range(vector.size):
        x, places = vector[c], points[c][start:stop]  # a loop from 0 becomes vector instructions
        for p in range(count):
            squares[p] += (x - places[p]) * (x - places[p])
    least = squares[0]
    for p in range(1, count):
        least = min(least, squares[p])
    return least


@numba.njit(cache=True)
def farthest_points(vectors, entries):
    """Vector 0, then again and again the vector farthest from all chosen ones: [entries, v]."""
    n, length = vectors.shape
    chosen = np.empty((length, entries))
    squares = np.empty(entries)
    seen = np.zeros(n, np.int64)  # how many of the chosen its distance knows
    # The least pair has the largest distance, and the smallest index of equals. A distance that is
    # not up to date is too large, so that no equal can be before the first one that is.
    heap = [(-np.inf, i) for i in range(n)]
    for k in range(entries):
        while seen[heap[0][1]] < k:
            distance, i = heap[0]
            least = _least_square(vectors[i], chosen, seen[i], k, squares)
            seen[i] = k
            heapq.heapreplace(heap, (max(distance, -least), i))
        chosen[:, k] = vectors[heap[0][1]]
    return np.ascontiguousarray(chosen.T)
