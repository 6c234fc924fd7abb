"""PV-Tuning: steps over values and over codes in turn, on AQLM's representation (arXiv 2405.14852).

P step: codes fixed, a gradient step on codebooks and scales. V step: values fixed, codes moved
towards a gradient step of the weights. With all weights at once the safe step is too short for any
code to move; so few groups move at a time, by the longer step that is safe for them alone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.formats import Format
from plait.models.quantize import _beam
from plait.models.quantize.aqlm import (
    AdditiveCodes,
    additive_input,
    beam_search,
    gradients,
    initial_codes,
    loss,
    to_tensor,
    train_values,
)
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["code_step", "pv_tuning", "subspace_sweep", "value_step"]

Float64 = NDArray[np.float64]


def value_step(weight: Float64, gram: Float64, found: AdditiveCodes, rate: float) -> AdditiveCodes:
    """P step: plain gradient descent by ``rate`` on codebooks and scales."""
    of_books, of_scales, _ = gradients(weight, gram, found)
    return replace(
        found, books=found.books - rate * of_books, scales=found.scales - rate * of_scales
    )


def code_step(
    target: Float64,
    found: AdditiveCodes,
    beam: int = 1,
    fraction: float = 0.01,
    trust: float | None = None,
) -> AdditiveCodes:
    """V step: codes towards target weights, in the groups farthest from them.

    Args:
        target: [outputs, inputs], where a gradient step would bring the weights.
        found: where the search starts.
        beam: hypotheses.
        fraction: of the groups that may change, rounded up.
        trust: limit of the change, relative to the length of all weights; None = no limit.
    """
    if not 0 < fraction <= 1:
        raise FormatError("not a fraction", where="fraction", got=fraction, expected="above 0 to 1")
    now = found.quantised
    group, count = found.books.shape[2], found.books.shape[0]
    distance = np.square(target - now).reshape(-1, group).sum(axis=1)
    most = math.ceil(fraction * distance.size)
    chosen = np.argsort(-distance, kind="stable")[:most]
    scales = np.repeat(found.scales, found.codes.shape[1])
    wanted = (target.reshape(-1, group) / scales[:, None])[chosen]
    codes = found.codes.reshape(-1, count).copy()
    codes[chosen] = _beam.search_groups(wanted, found.books, codes[chosen], beam)
    moved = replace(found, codes=codes.reshape(found.codes.shape))
    if trust is None:
        return moved
    change = np.square(moved.quantised - now).reshape(-1, group).sum(axis=1)[chosen]
    length = np.sqrt(np.cumsum(change))
    kept = 1 + int(np.searchsorted(length, trust * np.linalg.norm(now), side="left"))
    refused = chosen[kept:]
    codes[refused] = found.codes.reshape(-1, count)[refused]
    return replace(found, codes=codes.reshape(found.codes.shape))


def subspace_sweep(
    weight: Float64, gram: Float64, found: AdditiveCodes, beam: int = 2, groups: int | None = None
) -> AdditiveCodes:
    """V steps of one group each, by falling gradient; the error never rises.

    A group's step is 1 / L with L = 2 lambda_max(its block of gram) / outputs; it moves if its new
    codes are strictly nearer to that target than the old ones.

    Args:
        groups: how many groups, those of the largest gradients; None = all.
    """
    length = found.books.shape[2]
    columns = found.codes.shape[1]
    slope = gradients(weight, gram, found)[2]
    norms = np.square(slope).reshape(-1, length).sum(axis=1)
    steepness = [
        np.linalg.eigvalsh(gram[c : c + length, c : c + length])[-1]
        for c in range(0, columns * length, length)
    ]
    codes, difference = found.codes.copy(), found.quantised - weight
    rows, places = np.divmod(np.argsort(-norms, kind="stable")[:groups], columns)
    by_row = np.argsort(rows, kind="stable")  # what moves in a row does not reach the others
    _beam.move_groups(
        places[by_row],
        np.searchsorted(rows[by_row], np.arange(len(codes) + 1)),
        gram,
        np.array(steepness),
        found.books,
        found.scales,
        beam,
        weight,
        difference,
        codes,
    )
    return replace(found, codes=codes)


def pv_tuning(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    inputs: Any = None,
    beam: int = 2,
    sweeps: int = 2,
    steps: int = 20,
    rate: float = 1e-3,
    fraction: float = 0.05,
    rounds: int = 10,
) -> QuantizedTensor:
    """Quantise one matrix: AQLM's start, then P and V steps on the layer's output error.

    The paper tunes the whole model by its language loss; here the loss is the layer's own.

    Args:
        weight: [outputs, inputs].
        format: as ``aqlm-2x8-g8``.
        granularity: ignored; a scale a row.
        scale_bits: 16, which the format fixes; or None.
        inputs: calibration data [tokens, inputs].
        beam: hypotheses.
        sweeps: rounds of P and V steps.
        steps, rate: gradient steps of P, and their size.
        fraction: of the groups that a V step visits.
        rounds: of k-means at most.
    """
    fmt, matrix, statistics = additive_input(weight, format, scale_bits, inputs, "pv-tuning")
    found = initial_codes(matrix, len(fmt.books), fmt.books[0], fmt.vector[1], rounds)
    found = beam_search(matrix, statistics.gram, found, 1)
    visited = math.ceil(fraction * found.codes[..., 0].size)
    best, least = found, loss(matrix, statistics.gram, found)
    for _ in range(sweeps):
        found = train_values(matrix, statistics.gram, found, steps, rate)
        found = subspace_sweep(matrix, statistics.gram, found, beam, visited)
        now = loss(matrix, statistics.gram, found)
        if now < least:
            best, least = found, now
    return to_tensor(fmt, best, statistics.notes)
