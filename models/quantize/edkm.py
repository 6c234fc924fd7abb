"""eDKM: a palette found by differentiable k-means (arXiv 2309.00964; DKM, arXiv 2108.12659).

After training a matrix is n-bit indices and 2^n FP16 values. Without training the palette is the
optimal k-means of the weights. In training, weights attend to the centroids; 16-bit weights have at
most 65,536 patterns, so that attention map has that many distinct rows and is kept as a table of
them and an index a weight (``uniquify``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.kmeans import best_palette
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = [
    "SoftPalette",
    "UniqueMap",
    "bits_per_weight",
    "edkm",
    "palette_labels",
    "soft_palette",
    "uniquify",
]

TEMPERATURE = 1e-4
_FIRST_BIAS = 1e-7  # on entry 0: of two centroids at one distance it is the nearer
_SMALLEST_ATTENTION = 1e-7
_SETTLED = 1e-4
_INDEX_BYTES = 2

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SoftPalette:
    """One forward pass of DKM: centroids [k], rounds, and the soft weights."""

    centroids: Float64
    rounds: int
    weights: Float64


@dataclass(frozen=True, slots=True)
class UniqueMap:
    """Bytes that the attention map of a layer takes: whole, as table and index, a learner."""

    patterns: int
    map_bytes: int
    table_bytes: int
    learner_bytes: int


def soft_palette(
    weight: NDArray[Any],
    centroids: Float64,
    temperature: float = TEMPERATURE,
    rounds: int = 3,
) -> SoftPalette:
    """One training forward of DKM in float64: attention to the centroids, which move with it.

    The attention of the last round meets the centroids of after it. ``temperature`` acts on squared
    distances: it has to follow the weights' scale. Equal weights are computed once.
    """
    values = np.asarray(weight, np.float64)
    points, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = counts.astype(np.float64)[:, None]
    before = np.inf
    for done in range(1, rounds + 1):  # noqa: B007 - the count is the result
        distance = _distances(points, centroids)
        scores = -(distance - distance.min(axis=1, keepdims=True)) / temperature
        attention = np.exp(scores)
        attention /= attention.sum(axis=1, keepdims=True)
        attention = np.maximum(attention, _SMALLEST_ATTENTION)
        weighted = attention * mass
        centroids = (weighted * points[:, None]).sum(axis=0) / weighted.sum(axis=0)
        inertia = float((mass[:, 0] * distance.min(axis=1)).sum())
        if abs(inertia - before) <= _SETTLED:
            break
        before = inertia
    return SoftPalette(centroids, done, (attention @ centroids)[place].reshape(values.shape))


def palette_labels(weight: NDArray[Any], centroids: Float64) -> NDArray[np.int64]:
    """Index of the centroid that each weight becomes, the shape of the weights."""
    points, place = np.unique(np.asarray(weight, np.float64), return_inverse=True)
    labels = _distances(points, centroids).argmin(axis=1)
    return labels[place].reshape(np.shape(weight)).astype(np.int64)


def uniquify(weight: NDArray[Any], entries: int, learners: int = 1) -> UniqueMap:
    """Memory of one layer's attention map with bfloat16 weights and values.

    Args:
        weight: [outputs, inputs], rounded to bfloat16 here.
        entries: centroids.
        learners: that share the index list.
    """
    import ml_dtypes

    patterns = np.unique(np.asarray(weight).astype(ml_dtypes.bfloat16).view(np.uint16)).size
    count = int(np.size(weight))
    table = patterns * entries * 2
    index = _INDEX_BYTES * count
    return UniqueMap(patterns, 2 * count * entries, table + index, table + -(-index // learners))


def bits_per_weight(outputs: int, inputs: int, bits: int, luts: int = 1) -> float:
    """Indices and ``luts`` palettes of FP16 values."""
    return bits + 16 * (1 << bits) * luts / (outputs * inputs)


def edkm(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    rows_per_lut: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix to a palette: the optimal k-means of its weights in FP16.

    Args:
        weight: [outputs, inputs].
        format: ``palette2``, ``palette3``, ...
        granularity: ignored; see ``rows_per_lut``.
        scale_bits: None, because a palette has no scale.
        rows_per_lut: rows that share a palette; None = all.
    """
    fmt = formats.get(format)
    if fmt.decoder != "palette" or scale_bits is not None:
        raise FormatError(
            "not for this method", where="method edkm", got=fmt.name, expected="palette3"
        )
    matrix = check_weight(weight)
    rows = matrix.shape[0] if rows_per_lut is None else rows_per_lut
    if not isinstance(rows, int) or rows < 1 or matrix.shape[0] % rows:
        raise FormatError(
            "must divide the outputs", where="rows_per_lut", got=rows, expected=str(matrix.shape[0])
        )
    half = matrix.astype(np.float16).astype(np.float64)
    if not np.isfinite(half).all():
        raise FormatError("beyond FP16", where="weight", got=float(np.abs(matrix).max()))
    blocks = half.reshape(-1, rows, matrix.shape[1])
    luts = np.stack([best_palette(block, fmt.books[0])[0] for block in blocks])
    stored = luts.astype(np.float16)
    codes = [
        palette_labels(b, lut) for b, lut in zip(blocks, stored.astype(np.float64), strict=True)
    ]
    return QuantizedTensor(
        format=fmt,
        codes=np.concatenate(codes).astype(np.uint8),
        group_size=matrix.shape[1],
        scales=np.ones((matrix.shape[0], 1), np.float32),
        selectors=np.zeros((matrix.shape[0], 1), np.uint8),
        extras={"lut": stored},
        size=(matrix.shape[0], matrix.shape[1]),
    )


def _distances(points: Float64, centroids: Float64) -> Float64:
    distance = np.square(points[:, None] - centroids)
    distance[:, 0] -= _FIRST_BIAS
    return distance
