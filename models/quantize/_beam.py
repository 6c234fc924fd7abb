"""The beam searches of AQLM and PV-Tuning; rows and groups are on their own, loops run in numba.

A search of rows goes through blocks of columns. What the codes of a block change in the columns
after it is one matrix product at the end of the block, as in GPTQ's column pass.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["move_groups", "search_groups", "search_rows"]

_BLOCK = 128  # columns: their part of the Gram matrix stays in the second cache

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def search_rows(
    weight: Float64, gram: Float64, books: Float64, scales: Float64, codes: Int64, beam: int
) -> Int64:
    """Better codes of whole rows by their exact output error.

    Args:
        weight: [outputs, inputs].
        gram: [inputs, inputs], X^T X / tokens.
        books: [M, entries, g].
        scales: [outputs].
        codes: [outputs, groups, M], where the search starts.
        beam: hypotheses kept.
    """
    (outputs, groups, _), length = codes.shape, books.shape[2]
    values: Any = sum(book[codes[..., m]] for m, book in enumerate(books))
    difference = values.reshape(outputs, -1) * scales[:, None] - weight
    pulls = (difference @ gram)[:, None]  # of each hypothesis; columns from the block on
    losses = (difference * pulls[:, 0]).sum(axis=1, keepdims=True)
    found, rows = codes[:, None], np.arange(outputs)[:, None]
    columns = np.ascontiguousarray(books.transpose(0, 2, 1))
    at_once = max(1, _BLOCK // length)
    for first in range(0, groups, at_once):
        part = slice(first, min(first + at_once, groups))
        here = slice(first * length, part.stop * length)
        block = np.ascontiguousarray(gram[here, here])
        width = block.shape[0]
        state = pulls[..., :width], losses, found[:, :, part]
        pull, loss, start = map(np.ascontiguousarray, state)
        chosen, change, parents, losses, alive = _search_block(
            pull, loss, start, block, books, columns, _squares(books, block), scales, beam,
        )  # fmt: skip
        parents, losses = parents[:, :alive], losses[:, :alive]
        found = found[rows, parents]
        found[:, :, part] = chosen[:, :alive]
        pulls = pulls[..., width:][rows, parents] + change[:, :alive] @ gram[here, here.stop :]
    return np.ascontiguousarray(found[:, 0])


def _squares(books: Float64, block: Float64) -> Float64:
    """b^T G b of each entry in each group of a block, [groups, M, entries]."""
    length = books.shape[2]
    parts = [
        ((books @ block[c : c + length, c : c + length]) * books).sum(axis=2)
        for c in range(0, block.shape[0], length)
    ]
    return np.stack(parts)


@numba.njit(parallel=True, cache=True)
def _search_block(pulls, losses, codes, block, books, columns, squares, scales, beam):
    """One block of columns: codes, change of the values, parent and loss of each hypothesis.

    Args:
        pulls: float64 [outputs, alive, width], gram @ (quantised - row).
        losses: float64 [outputs, alive].
        codes: int64 [outputs, alive, groups, M].
        block: float64 [width, width] of the Gram matrix.
        books: float64 [M, entries, g]; columns the same as [M, g, entries].
        squares: float64 [groups, M, entries].
        scales: float64 [outputs].
        beam: hypotheses kept.
    """
    outputs, before, groups, count = codes.shape
    width = block.shape[0]
    chosen = np.empty((outputs, beam, groups, count), np.int64)
    change = np.zeros((outputs, beam, width))
    parents = np.zeros((outputs, beam), np.int64)
    after = np.empty((outputs, beam))
    after[:, :before] = losses
    alive = np.empty(outputs, np.int64)
    for o in numba.prange(outputs):
        pull = np.empty((beam, width))
        pull[:before] = pulls[o]
        chosen[o, :before] = codes[o]
        parents[o, :before] = np.arange(before)
        alive[o] = _search_row(
            pull, after[o], chosen[o], change[o], parents[o],
            block, books, columns, squares, scales[o], before,
        )  # fmt: skip
    return chosen, change, parents, after, alive[0]


@numba.njit(cache=True)
def _search_row(pull, losses, codes, change, parents, block, books, columns, squares, scale, alive):
    """The first five arguments are changed; gives how many hypotheses there are then."""
    beam, groups, count = codes.shape
    entries, length = books.shape[1], books.shape[2]
    slope, inner, step = np.empty(length), np.empty(length), np.empty(length)
    gains = np.empty((beam, entries))
    for g in range(groups):
        first = g * length
        for m in range(count):
            for h in range(alive):
                # The loss with b in place of a: L + s (b - a) . (2 pull + s G (b - a)); what does
                # not depend on b once, what does as a product with the codebook and a square.
                old = books[m, codes[h, g, m]]
                constant = losses[h]
                for c in range(length):
                    inner[c] = 0.0
                    for d in range(length):
                        inner[c] += block[first + c, first + d] * old[d]
                    slope[c] = 2 * scale * (pull[h, first + c] - scale * inner[c])
                    constant -= scale * old[c] * (2 * pull[h, first + c] - scale * inner[c])
                _gains(slope, constant, columns[m], scale * scale, squares[g, m], gains[h])
            keep = min(beam, alive * entries)
            found, least = _smallest(gains[:alive].ravel(), keep)
            if beam > 1:
                origin = found // entries
                codes[:keep], change[:keep] = codes[origin], change[origin]
                pull[:keep], parents[:keep] = pull[origin], parents[origin]
            for k in range(keep):
                new, old = found[k] % entries, codes[k, g, m]
                losses[k] = least[k]
                if new == old:
                    continue
                codes[k, g, m] = new
                for c in range(length):
                    step[c] = scale * (books[m, new, c] - books[m, old, c])
                    change[k, first + c] += step[c]
                _add_rows(step, block, first, pull[k])
            alive = keep
    return alive


@numba.njit(cache=True)
def _gains(slope, constant, columns, factor, squares, gains):
    for e in range(gains.size):
        gains[e] = constant + factor * squares[e]
    for c in range(slope.size):
        x, column = slope[c], columns[c]
        for e in range(gains.size):
            gains[e] += x * column[e]


@numba.njit(cache=True)
def _add_rows(step, block, first, pull):
    """Add rows of the block times a step, in the columns that a search still reads."""
    rest = pull[first:]
    for c in range(step.size):
        x, row = step[c], block[first + c][first:]
        for i in range(rest.size):
            rest[i] += x * row[i]


def search_groups(targets: Float64, books: Float64, codes: Int64, beam: int) -> Int64:
    """Codes whose sum is near a target in plain distance; the last codebook keeps one hypothesis.

    Args:
        targets: [n, g], in units of the codebooks.
        books: [M, entries, g].
        codes: [n, M], where the search starts.
        beam: hypotheses kept.
    """
    columns = np.ascontiguousarray(books.transpose(0, 2, 1))
    found: Int64 = _search_groups(np.ascontiguousarray(targets), books, columns, codes, beam)
    return found


@numba.njit(parallel=True, cache=True)
def _search_groups(targets, books, columns, codes, beam):
    result = codes.copy()
    for n in numba.prange(targets.shape[0]):
        result[n] = _search_group(targets[n], books, columns, codes[n], beam)
    return result


def move_groups(
    visited: Int64,
    bounds: Int64,
    gram: Float64,
    steepness: Float64,
    books: Float64,
    scales: Float64,
    beam: int,
    weight: Float64,
    difference: Float64,
    codes: Int64,
) -> None:
    """Move groups one after the other towards a gradient step of their own, if they come nearer.

    Args:
        visited: [n], groups in their order, row after row.
        bounds: [outputs + 1], where each row's begin.
        gram: [inputs, inputs].
        steepness: [groups], largest eigenvalue of each group's block of gram.
        books: [M, entries, g].
        scales: [outputs].
        beam: hypotheses kept.
        weight: [outputs, inputs].
        difference: [outputs, inputs], quantised - weight; changed.
        codes: [outputs, groups, M]; changed.
    """
    columns = np.ascontiguousarray(books.transpose(0, 2, 1))
    _move_groups(
        visited, bounds, gram, steepness, books, columns, scales, beam, weight, difference, codes
    )


@numba.njit(parallel=True, cache=True)
def _move_groups(
    visited, bounds, gram, steepness, books, columns, scales, beam, weight, difference, codes
):
    length = books.shape[2]
    for row in numba.prange(codes.shape[0]):
        pull, current, target = np.empty(length), np.empty(length), np.empty(length)
        for place in range(bounds[row], bounds[row + 1]):
            group = visited[place]
            first = group * length
            if steepness[group] <= 0:
                continue
            _pull(difference[row], gram, first, pull)
            before = 0.0
            for c in range(length):
                # The step over L: (2 d gram / outputs) / (2 lambda / outputs), outputs cancel.
                step = pull[c] / steepness[group]
                current[c] = difference[row, first + c] + weight[row, first + c]
                target[c] = current[c] - step
                before += (current[c] - target[c]) ** 2
            scale = scales[row]
            new = _search_group(target / scale, books, columns, codes[row, group], beam)
            after = 0.0
            for c in range(length):
                value = 0.0
                for m in range(new.size):
                    value += books[m, new[m], c]
                current[c] = scale * value
                after += (current[c] - target[c]) ** 2
            if after < before:
                codes[row, group] = new
                for c in range(length):
                    difference[row, first + c] = current[c] - weight[row, first + c]


@numba.njit(cache=True)
def _pull(difference, gram, first, pull):
    """difference @ gram in the columns of one group."""
    pull[:] = 0.0
    for i in range(difference.size):
        x, row = difference[i], gram[i][first : first + pull.size]
        for c in range(pull.size):
            pull[c] += x * row[c]


@numba.njit(cache=True)
def _search_group(target, books, columns, start, beam):
    count, entries = books.shape[:2]
    hypotheses = np.empty((beam, count), np.int64)
    hypotheses[0] = start
    distances = np.empty((beam, entries))
    alive = 1
    for m in range(count):
        for h in range(alive):
            rest = target.copy()
            for other in range(count):
                if other != m:
                    rest -= books[other, hypotheses[h, other]]
            _distances(rest, columns[m], distances[h])
        keep = 1 if m == count - 1 else min(beam, alive * entries)
        chosen, _ = _smallest(distances[:alive].ravel(), keep)
        hypotheses[:keep] = hypotheses[chosen // entries]
        hypotheses[:keep, m] = chosen % entries
        alive = keep
    return hypotheses[0]


@numba.njit(cache=True)
def _distances(point, columns, distances):
    for e in range(distances.size):
        distances[e] = 0.0
    for c in range(point.size):
        x, column = point[c], columns[c]
        for e in range(distances.size):
            distances[e] += (x - column[e]) * (x - column[e])


@numba.njit(cache=True)
def _smallest(values, count):
    """Places and the smallest values there, ascending, the first of equals first; changes them."""
    found, least = np.empty(count, np.int64), np.empty(count)
    for k in range(count):
        least[k] = _minimum(values)
        at = 0
        while at < values.size - 1 and values[at] != least[k]:
            at += 1
        found[k] = at
        values[at] = np.inf
    return found, least


@numba.njit(cache=True, fastmath={"nnan", "nsz"})  # lets a minimum become vector instructions
def _minimum(values):
    least = values[0]
    for i in range(1, values.size):
        least = min(least, values[i])
    return least
