"""The beam searches of AQLM and PV-Tuning, compiled by numba, a row or a group at a time."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["search_groups", "search_rows"]


@numba.njit(parallel=True, cache=True)
def search_rows(weight, gram, books, scales, codes, beam):
    """Better codes of whole rows by their exact output error; every row on its own.

    Args:
        weight: float64 [outputs, inputs].
        gram: float64 [inputs, inputs], X^T X / tokens.
        books: float64 [M, entries, g].
        scales: float64 [outputs].
        codes: int64 [outputs, groups, M], where the search starts.
        beam: hypotheses kept.

    Returns:
        int64 [outputs, groups, M].
    """
    outputs = codes.shape[0]
    result = codes.copy()
    for o in numba.prange(outputs):
        result[o] = _search_row(weight[o], gram, books, scales[o], codes[o], beam)
    return result


@numba.njit(cache=True)
def _search_row(row, gram, books, scale, start, beam):
    groups, count = start.shape
    entries, length = books.shape[1], books.shape[2]
    inputs = row.size
    hypotheses = np.empty((beam, groups, count), np.int64)
    hypotheses[0] = start
    pull = np.zeros((beam, inputs))  # gram @ (quantised - row)
    losses = np.zeros(beam)
    difference = -row.copy()
    for g in range(groups):
        for m in range(count):
            for c in range(length):
                difference[g * length + c] += scale * books[m, start[g, m], c]
    pull[0] = gram @ difference
    losses[0] = difference @ pull[0]
    alive = 1
    step = np.empty(length)
    for g in range(groups):
        first = g * length
        block = gram[first : first + length, first : first + length]
        for m in range(count):
            gains = np.empty(alive * entries)
            for h in range(alive):
                old = books[m, hypotheses[h, g, m]]
                for e in range(entries):
                    gain = losses[h]
                    for c in range(length):
                        step[c] = scale * (books[m, e, c] - old[c])
                    for c in range(length):
                        part = 0.0
                        for d in range(length):
                            part += block[c, d] * step[d]
                        gain += step[c] * (2 * pull[h, first + c] + part)
                    gains[h * entries + e] = gain
            keep = min(beam, gains.size)
            chosen = _smallest(gains, keep)
            next_codes = np.empty((keep, groups, count), np.int64)
            next_pull = np.empty((keep, inputs))
            next_losses = np.empty(keep)
            for k in range(keep):
                h, e = chosen[k] // entries, chosen[k] % entries
                next_codes[k] = hypotheses[h]
                next_pull[k] = pull[h]
                old = hypotheses[h, g, m]
                if e != old:
                    for c in range(length):
                        change = scale * (books[m, e, c] - books[m, old, c])
                        for i in range(inputs):
                            next_pull[k, i] += gram[first + c, i] * change
                next_codes[k, g, m] = e
                next_losses[k] = gains[chosen[k]]
            alive = keep
            hypotheses[:keep] = next_codes
            pull[:keep] = next_pull
            losses[:keep] = next_losses
    return hypotheses[0]


@numba.njit(parallel=True, cache=True)
def search_groups(targets, books, codes, beam):
    """Codes whose sum is near a target in plain distance; the last codebook keeps one hypothesis.

    Args:
        targets: float64 [n, g], in units of the codebooks.
        books: float64 [M, entries, g].
        codes: int64 [n, M], where the search starts.
        beam: hypotheses kept.

    Returns:
        int64 [n, M].
    """
    result = codes.copy()
    for n in numba.prange(targets.shape[0]):
        result[n] = _search_group(targets[n], books, codes[n], beam)
    return result


@numba.njit(cache=True)
def _search_group(target, books, start, beam):
    count, entries, length = books.shape
    hypotheses = np.empty((beam, count), np.int64)
    hypotheses[0] = start
    alive = 1
    for m in range(count):
        distances = np.empty(alive * entries)
        for h in range(alive):
            rest = target.copy()
            for other in range(count):
                if other != m:
                    rest -= books[other, hypotheses[h, other]]
            for e in range(entries):
                distance = 0.0
                for c in range(length):
                    distance += (rest[c] - books[m, e, c]) ** 2
                distances[h * entries + e] = distance
        keep = 1 if m == count - 1 else min(beam, distances.size)
        chosen = _smallest(distances, keep)
        following = np.empty((keep, count), np.int64)
        for k in range(keep):
            following[k] = hypotheses[chosen[k] // entries]
            following[k, m] = chosen[k] % entries
        alive = keep
        hypotheses[:keep] = following
    return hypotheses[0]


@numba.njit(cache=True)
def _smallest(values, count):
    """Indices of the smallest values, ascending, the first of equals first."""
    found = np.empty(count, np.int64)
    taken = np.zeros(values.size, np.bool_)
    for k in range(count):
        best = -1
        for i in range(values.size):
            if not taken[i] and (best < 0 or values[i] < values[best]):
                best = i
        found[k] = best
        taken[best] = True
    return found
