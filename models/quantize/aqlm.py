"""AQLM: a group of inputs is the sum of one vector of each of M codebooks (arXiv 2401.06118).

Codebooks start as residual k-means of the rows divided by their length; then codes by beam search
and codebooks by gradient steps, in turns, both on the layer's exact output error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.packing import code_dtype
from plait.models.quantize import _beam
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.gptq import stored_scales
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.kmeans import cluster_vectors, nearest
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = [
    "AdditiveCodes",
    "aqlm",
    "beam_search",
    "bits_per_weight",
    "gradients",
    "initial_codes",
    "loss",
    "to_tensor",
    "train_values",
]

_SMALLEST_NORM = 1e-9
_BETA = 0.95  # of Adam's second moment; there is no first

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AdditiveCodes:
    """A matrix in codes and values.

    Attributes:
        codes: int64 [outputs, groups, M].
        books: float64 [M, entries, g].
        scales: float64 [outputs].
    """

    codes: NDArray[np.int64]
    books: Float64
    scales: Float64

    @property
    def unscaled(self) -> Float64:
        """Sums of vectors, [outputs, inputs]."""
        parts = [book[self.codes[..., m]] for m, book in enumerate(self.books)]
        return np.sum(parts, axis=0).reshape(self.codes.shape[0], -1)

    @property
    def quantised(self) -> Float64:
        """The weights, [outputs, inputs]."""
        return self.unscaled * self.scales[:, None]


def initial_codes(
    weight: NDArray[Any], books: int, entries: int, group: int, rounds: int = 100
) -> AdditiveCodes:
    """Residual k-means from farthest points, in float64."""
    matrix = np.asarray(weight, np.float64)
    scales = np.linalg.norm(matrix, axis=1) + _SMALLEST_NORM
    left = (matrix / scales[:, None]).reshape(-1, group)
    centroids, codes = [], []
    for _ in range(books):
        centroids.append(cluster_vectors(left, entries, rounds=rounds).centroids)
        codes.append(nearest(left, centroids[-1]))
        left = left - centroids[-1][codes[-1]]
    stacked = np.stack(codes, axis=1).reshape(matrix.shape[0], -1, books)
    return AdditiveCodes(stacked.astype(np.int64), np.stack(centroids), scales)


def loss(weight: Float64, gram: Float64, found: AdditiveCodes) -> float:
    """Mean over outputs of the squared output error, gram = X^T X / tokens."""
    difference = found.quantised - weight
    return float(((difference @ gram) * difference).sum() / difference.shape[0])


def beam_search(weight: Float64, gram: Float64, found: AdditiveCodes, beam: int) -> AdditiveCodes:
    """Better codes for the same values, group by group, codebook by codebook."""
    codes = _beam.search_rows(
        np.asarray(weight, np.float64), gram, found.books, found.scales, found.codes, beam
    )
    return replace(found, codes=codes)


def gradients(
    weight: Float64, gram: Float64, found: AdditiveCodes
) -> tuple[Float64, Float64, Float64]:
    """df/dbooks [M, entries, g], df/dscales [outputs], df/dweights [outputs, inputs]."""
    of_weight = 2 * (found.quantised - weight) @ gram / weight.shape[0]
    of_scale = (of_weight * found.unscaled).sum(axis=1)
    count, entries, group = found.books.shape
    parts = (of_weight * found.scales[:, None]).reshape(-1, group)
    of_books = np.empty_like(found.books)
    for m in range(count):
        places = found.codes[..., m].reshape(-1)
        columns = [np.bincount(places, part, entries) for part in parts.T]
        of_books[m] = np.stack(columns, axis=1)
    return of_books, of_scale, of_weight


def train_values(
    weight: Float64, gram: Float64, found: AdditiveCodes, steps: int, rate: float
) -> AdditiveCodes:
    """Adam on codebooks and scales (betas 0 and 0.95, the largest second moment kept)."""
    values = [found.books.copy(), found.scales.copy()]
    moments = [np.zeros_like(part) for part in values]
    largest = [np.zeros_like(part) for part in values]
    for step in range(1, steps + 1):
        slopes = gradients(weight, gram, AdditiveCodes(found.codes, values[0], values[1]))[:2]
        for i, slope in enumerate(slopes):
            moments[i] = _BETA * moments[i] + (1 - _BETA) * slope**2
            largest[i] = np.maximum(largest[i], moments[i])
            spread = np.sqrt(largest[i] / (1 - _BETA**step)) + 1e-8
            values[i] = values[i] - rate * slope / spread
    return AdditiveCodes(found.codes, values[0], values[1])


def bits_per_weight(outputs: int, inputs: int, books: int, index_bits: int, group: int) -> float:
    """Indices, FP16 codebooks and an FP16 scale a row."""
    codebooks = 16 * books * (1 << index_bits) * group
    return books * index_bits / group + codebooks / (outputs * inputs) + 16 / inputs


def aqlm(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    inputs: Any = None,
    beam: int = 1,
    sweeps: int = 2,
    steps: int = 20,
    rate: float = 1e-3,
    rounds: int = 10,
) -> QuantizedTensor:
    """Quantise one matrix by AQLM.

    Args:
        weight: [outputs, inputs].
        format: as ``aqlm-2x8-g8``.
        granularity: ignored; a scale a row.
        scale_bits: 16, which the format fixes; or None.
        inputs: calibration data [tokens, inputs].
        beam: hypotheses of the search.
        sweeps: rounds of value steps and a beam search.
        steps, rate: gradient steps a sweep, and their size.
        rounds: of k-means at most.
    """
    fmt, matrix, statistics = additive_input(weight, format, scale_bits, inputs, "aqlm")
    found = initial_codes(matrix, len(fmt.books), fmt.books[0], fmt.vector[1], rounds)
    best, least = found, loss(matrix, statistics.gram, found)
    for _ in range(sweeps):
        found = train_values(matrix, statistics.gram, found, steps, rate)
        found = beam_search(matrix, statistics.gram, found, beam)
        now = loss(matrix, statistics.gram, found)
        if now < least:
            best, least = found, now
    return to_tensor(fmt, best, statistics.notes)


def additive_input(
    weight: NDArray[Any], format: str | Format, scale_bits: int | None, inputs: Any, method: str
) -> Any:
    """Format, float64 matrix and statistics of a method on additive codebooks, checked."""
    fmt = formats.get(format)
    if fmt.decoder != "additive" or scale_bits not in (None, 16):
        raise FormatError(
            "not for this method", where=f"method {method}", got=fmt.name, expected="aqlm-2x8-g8"
        )
    matrix = check_weight(weight).astype(np.float64)
    if matrix.shape[1] % fmt.vector[1]:
        raise FormatError(
            "vectors must divide the inputs",
            where=fmt.name,
            got=matrix.shape[1],
            expected=f"a multiple of {fmt.vector[1]}",
        )
    return fmt, matrix, as_statistics(inputs, matrix.shape[1], method)


def to_tensor(fmt: Format, found: AdditiveCodes, notes: tuple[str, ...] = ()) -> QuantizedTensor:
    """Values rounded to FP16 as they are stored."""
    outputs, groups, _ = found.codes.shape
    inputs = groups * fmt.vector[1]
    return QuantizedTensor(
        format=fmt,
        codes=found.codes.reshape(outputs, -1).astype(code_dtype(fmt.code_bits)),
        group_size=inputs,
        scales=stored_scales(found.scales[:, None], 16),
        selectors=np.zeros((outputs, 1), np.uint8),
        extras={"codebooks": found.books.astype(np.float16)},
        size=(outputs, inputs),
        scale_bits=16,
        notes=notes,
    )
