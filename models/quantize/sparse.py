"""N:16 pruning: N of 16 neighbours stay, N one number in each 16 x 16 block (FlightLLM).

What stays is chosen by magnitude, or by magnitude times the length of the input that meets it
(Wanda, arXiv 2306.11695). N is 0, 2, 4, 8 or 16: one number for all blocks, or for a wanted density
one a block, so that the most importance is kept. Kept values stand in ascending column order.

Pruning of this kind looks better in perplexity than it is: read `metrics.compare` and
`metrics.greedy_agreement` beside it.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.layout import BLOCK, Layout
from plait.models.quantize.rtn import check_weight, quantize_array
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["KEPT", "choose_counts", "importance", "kept_weights", "sparse"]

KEPT = (0, 2, 4, 8, 16)
"""Weights of 16 that a row of a block may keep."""


def importance(
    weight: NDArray[Any], rule: str = "magnitude", inputs: Any = None
) -> NDArray[np.float64]:
    """How much each weight counts, float64 [outputs, inputs].

    Args:
        weight: [outputs, inputs].
        rule: ``magnitude`` (|w|) or ``wanda`` (|w| times the length of its input over all tokens).
        inputs: calibration data [tokens, inputs] of Wanda.
    """
    magnitude = np.abs(np.asarray(weight, np.float64))
    if rule == "magnitude":
        return magnitude
    if rule != "wanda":
        raise FormatError(
            "no such rule", where="importance", got=rule, expected="magnitude or wanda"
        )
    statistics = as_statistics(inputs, magnitude.shape[1], "sparse")
    return magnitude * np.sqrt(np.diag(statistics.gram))


def choose_counts(important: NDArray[np.float64], density: float) -> NDArray[np.int64]:
    """N of each block [row blocks, column blocks] that keeps most importance at a density.

    The best N weights of a row bring less and less, so taking the steps 0-2-4-8-16 of all blocks in
    the order of importance a weight is the optimum, up to the last step.

    Args:
        important: [outputs, inputs].
        density: share of weights that may stay, above 0 to 1.
    """
    if not 0 < density <= 1:
        raise FormatError("not a density", where="density", got=density, expected="above 0 to 1")
    blocks = _blocks(important)
    best = -np.sort(-blocks, axis=3)
    steps = np.stack(
        [best[..., low:high].sum(axis=(2, 3)) / (high - low) for low, high in _steps()], axis=2
    )
    sizes = np.array([high - low for low, high in _steps()])
    order = np.argsort(-steps.reshape(-1), kind="stable")
    cost = np.cumsum(np.tile(sizes, steps.shape[0] * steps.shape[1])[order])
    taken = np.zeros(steps.size, np.bool_)
    taken[order[cost <= density * BLOCK * steps.shape[0] * steps.shape[1] + 1e-9]] = True
    return (taken.reshape(steps.shape) * sizes).sum(axis=2)


def kept_weights(
    important: NDArray[np.float64], counts: int | NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The most important N of 16 in each row of each block, bool [outputs, inputs].

    Args:
        important: [outputs, inputs], multiples of 16; of equals the first column stays.
        counts: N, one of ``KEPT``, or one a block [row blocks, column blocks].
    """
    blocks = _blocks(important)
    chosen = np.broadcast_to(np.asarray(counts), blocks.shape[:2])
    if not np.isin(chosen, KEPT).all():
        wrong = chosen[~np.isin(chosen, KEPT)].flat[0]
        raise FormatError("not a count", where="kept", got=int(wrong), expected="0, 2, 4, 8 or 16")
    rank = np.argsort(np.argsort(-blocks, axis=3, kind="stable"), axis=3, kind="stable")
    kept = rank < chosen[:, :, None, None]
    return np.ascontiguousarray(kept.transpose(0, 2, 1, 3)).reshape(important.shape)


def sparse(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity,
    scale_bits: int | None = None,
    inputs: Any = None,
    kept: int | None = None,
    density: float | None = None,
    importance: str = "magnitude",
    layout: Layout = "mask",
) -> QuantizedTensor:
    """Prune one matrix, then round what stays.

    Args:
        weight: [outputs, inputs], multiples of 16.
        format: of the kept weights; one that rounding serves.
        granularity: weights that share a scale, pruned ones counted as places.
        scale_bits: as in `rtn`.
        inputs: calibration data [tokens, inputs] of Wanda.
        kept: N of 16 in every block; 8 if no density is given either.
        density: share of weights that stay, N chosen a block.
        importance: ``magnitude`` or ``wanda``.
        layout: how places are stored, ``mask`` (1 bit a weight) or ``index`` (4 bits a kept one).
    """
    fmt = formats.get(format)
    matrix = check_weight(weight)
    if kept is not None and density is not None:
        raise FormatError("two wishes", where="kept, density", got=(kept, density), expected="one")
    if layout not in ("mask", "index"):
        raise FormatError("no such layout", where="layout", got=layout, expected="mask or index")
    if not fmt.has_table or fmt.scale_rule == "outlier_search":
        raise FormatError(
            "a format whose codes cannot be left out", where=fmt.name, expected="int4"
        )
    if inputs is not None and importance == "magnitude":
        raise FormatError(
            "not read by magnitude", where="method sparse: inputs", expected='importance="wanda"'
        )
    notes: tuple[str, ...] = ()
    if importance == "wanda":
        inputs = as_statistics(inputs, matrix.shape[1], "sparse")
        notes = inputs.notes
    important = _importance(matrix, importance, inputs)
    counts = (8 if kept is None else kept) if density is None else choose_counts(important, density)
    mask = kept_weights(important, counts)
    dense = quantize_array(np.where(mask, matrix, 0), fmt, granularity, scale_bits)
    codes = np.where(mask, dense.codes, 0).astype(dense.codes.dtype)
    return replace(dense, codes=codes, kept=mask, kept_layout=layout, notes=notes)


_importance = importance  # the option of `sparse` has its name


def _steps() -> list[tuple[int, int]]:
    return list(itertools.pairwise(KEPT))


def _blocks(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """[row blocks, column blocks, 16, 16]."""
    outputs, inputs = array.shape
    if outputs % BLOCK or inputs % BLOCK:
        raise FormatError(
            "not whole blocks", where="weight", got=array.shape, expected=f"multiples of {BLOCK}"
        )
    return array.reshape(outputs // BLOCK, BLOCK, -1, BLOCK).transpose(0, 2, 1, 3)
