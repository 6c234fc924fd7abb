"""VPTQ: vectors along the outputs, indices into a codebook, columns finished one by one
(arXiv 2409.17066).

The column pass is GPTQ's with a vector quantiser. Codebooks come from k-means weighted by the
Hessian's diagonal, here always from farthest points, so that a result can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.formats.packing import code_dtype
from plait.models.quantize._columns import make_up
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.hessian import damped, inverse_factor
from plait.models.quantize.kmeans import Book, cluster_vectors
from plait.models.quantize.layout import pack_matrix
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["VectorCodes", "bits_per_weight", "packed_words", "pair_error", "vector_codes", "vptq"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class VectorCodes:
    """What the column pass gives; columns in permuted order unless said otherwise.

    Attributes:
        permutation: int64 [inputs], original column of each place.
        codebook: float64 [entries, v]; residual_codebook likewise, or None.
        index: int64 [rows of vectors, inputs]; residual_index likewise, or None.
        column_scales, column_biases: float64 [inputs] in permuted order, or None.
        quantised: float64 [outputs, inputs], original order, normalisation taken back.
        rounds: of k-means.
        kmeans_error, proxy_error: mean over pairs of inputs of (D^T D) * H, D the error of the
            weights, before and after the column pass.
    """

    permutation: NDArray[np.int64]
    codebook: Float64
    residual_codebook: Float64 | None
    index: NDArray[np.int64]
    residual_index: NDArray[np.int64] | None
    column_scales: Float64 | None
    column_biases: Float64 | None
    quantised: Float64
    rounds: int
    kmeans_error: float
    proxy_error: float


def vector_codes(
    weight: NDArray[Any],
    hessian: Float64,
    vector: int,
    entries: int,
    residual_entries: int = 0,
    normalise: bool = False,
    damp: float = 0.01,
    rounds: int = 100,
) -> VectorCodes:
    """Quantise in float64.

    Args:
        weight: [outputs, inputs]; outputs are padded with zeros to whole vectors.
        hessian: 2 X^T X / tokens.
        vector: outputs of a vector.
        entries: of the codebook; residual_entries of the second, 0 for none.
        normalise: move and scale each column to 0..1 first.
        damp: part of the mean diagonal added to the Hessian.
        rounds: of k-means at most.
    """
    matrix = np.array(weight, np.float64)
    outputs = matrix.shape[0]
    scales = biases = None
    if normalise:
        biases = matrix.min(axis=0)
        spread = matrix.max(axis=0) - biases
        scales = np.where(spread > 0, spread, 1.0)
        matrix = (matrix - biases) / scales
    safe, silent = damped(hessian, damp)
    order = np.argsort(-np.diag(hessian), kind="stable")
    matrix[:, silent] = 0
    permuted = np.pad(matrix, ((0, -outputs % vector), (0, 0)))[:, order]
    upper = inverse_factor(safe[np.ix_(order, order)])
    plain = hessian[np.ix_(order, order)]
    mass = np.repeat(np.diag(plain), permuted.shape[0] // vector)

    clusters = cluster_vectors(_vectors(permuted, vector), entries, mass, rounds)
    books = [Book(clusters.centroids)]
    first = _look_up(books, _search(_vectors(permuted, vector), books))
    first = first.reshape(permuted.T.shape).T
    restore = np.ones(len(order)) if scales is None else scales[order]
    before = pair_error((first - permuted)[:outputs] * restore, plain)
    codes, values, errors = _column_pass(permuted, upper, books, vector)
    if residual_entries:
        residual = cluster_vectors(_vectors(errors, vector), residual_entries, mass, rounds)
        books.append(Book(residual.centroids))
        codes, values, _ = _column_pass(permuted, upper, books, vector)
    after = pair_error((values - permuted)[:outputs] * restore, plain)

    quantised = np.empty((outputs, matrix.shape[1]))
    quantised[:, order] = values[:outputs]
    if scales is not None and biases is not None:
        quantised = quantised * scales + biases
        scales, biases = scales[order], biases[order]
    return VectorCodes(
        permutation=order.astype(np.int64),
        codebook=books[0].entries,
        residual_codebook=books[1].entries if residual_entries else None,
        index=codes[0],
        residual_index=codes[1] if residual_entries else None,
        column_scales=scales,
        column_biases=biases,
        quantised=quantised,
        rounds=clusters.rounds,
        kmeans_error=before,
        proxy_error=after,
    )


def pair_error(difference: Float64, hessian: Float64) -> float:
    """Mean over pairs of inputs of (D^T D) * H, for W - Q [outputs, inputs]."""
    return float(((difference @ hessian) * difference).sum() / hessian.size)


def packed_words(found: VectorCodes) -> NDArray[np.uint32]:
    """Indices as stored: [rows of vectors, words], residual index << index bits | index."""
    fmt = _format_of(found)
    codes = _joined(found).astype(code_dtype(fmt.code_bits))
    packed = pack_matrix(fmt, codes, None, {})
    return packed.view("<u4").reshape(codes.shape[0], -1)


def bits_per_weight(
    outputs: int,
    inputs: int,
    vector: int,
    entries: int,
    residual_entries: int = 0,
    groups: int = 1,
) -> float:
    """Bits a weight: packed indices, codebooks, and 48 bits an input (scale, bias, permutation).

    Args:
        groups: column groups with codebooks of their own.
    """
    bits = sum((n - 1).bit_length() for n in (entries, residual_entries) if n)
    words = -(-(-(-inputs // groups) * bits) // 32)
    indices = -(-outputs // vector) * 32 * words * groups
    books = 16 * vector * (entries + residual_entries) * groups
    return (indices + books + 48 * inputs) / (outputs * inputs)


def vptq(
    weight: NDArray[Any],
    format: str | Format,
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    inputs: Any = None,
    normalise: bool = True,
    damp: float = 0.01,
    rounds: int = 30,
) -> QuantizedTensor:
    """Quantise one matrix by VPTQ.

    Args:
        weight: [outputs, inputs].
        format: as ``vptq-v8-k256`` or ``vptq-v12-k4096-r4096``.
        granularity: ignored; one codebook a matrix.
        scale_bits: None, because the format fixes what it stores.
        inputs: calibration data [tokens, inputs].
        normalise, damp, rounds: see ``vector_codes``.
    """
    fmt = formats.get(format)
    if fmt.decoder != "vector" or scale_bits is not None:
        raise FormatError(
            "not for this method", where="method vptq", got=fmt.name, expected="vptq-v6-k4096"
        )
    matrix = check_weight(weight)
    statistics = as_statistics(inputs, matrix.shape[1], "vptq")
    vectors = -(-matrix.shape[0] // fmt.vector[0]) * matrix.shape[1]
    if vectors < fmt.books[0]:
        raise FormatError(
            "more entries than vectors",
            where=fmt.name,
            got=fmt.books[0],
            expected=f"at most {vectors}",
        )
    entries, residual_entries = (*fmt.books, 0)[:2]
    found = vector_codes(
        matrix,
        statistics.hessian,
        fmt.vector[0],
        entries,
        residual_entries,
        normalise,
        damp,
        rounds,
    )
    extras: dict[str, NDArray[Any]] = {
        "codebook": found.codebook.astype(np.float16),
        "permutation": found.permutation.astype(
            np.uint16 if matrix.shape[1] <= 1 << 16 else np.uint32
        ),
    }
    if found.residual_codebook is not None:
        extras["residual_codebook"] = found.residual_codebook.astype(np.float16)
    if found.column_scales is not None and found.column_biases is not None:
        extras["column_scales"] = found.column_scales.astype(np.float16)
        extras["column_biases"] = found.column_biases.astype(np.float16)
    return QuantizedTensor(
        format=fmt,
        codes=_joined(found).astype(code_dtype(fmt.code_bits)),
        group_size=matrix.shape[1],
        scales=np.ones((matrix.shape[0], 1), np.float32),
        selectors=np.zeros((matrix.shape[0], 1), np.uint8),
        extras=extras,
        size=(matrix.shape[0], matrix.shape[1]),
        notes=statistics.notes,
    )


def _vectors(matrix: Float64, vector: int) -> Float64:
    """[vectors, v], column by column, rows inside."""
    return np.ascontiguousarray(matrix.T).reshape(-1, vector)


def _search(vectors: Float64, books: list[Book]) -> list[NDArray[np.int64]]:
    """The nearest entry, then the nearest residual to what is left."""
    found, left = [], vectors
    for book in books:
        found.append(book.nearest(left))
        left = left - book.entries[found[-1]]
    return found


def _look_up(books: list[Book], codes: list[NDArray[np.int64]]) -> Float64:
    """The sums of the entries, [vectors, v]."""
    parts = (book.entries[code] for book, code in zip(books[1:], codes[1:], strict=True))
    return np.asarray(sum(parts, books[0].entries[codes[0]]))


def _column_pass(
    matrix: Float64, upper: Float64, books: list[Book], vector: int
) -> tuple[list[NDArray[np.int64]], Float64, Float64]:
    """Codes [row, input] of each book, values and errors of each column."""
    work, (outputs, columns) = matrix.copy(), matrix.shape
    codes = [np.empty((columns, outputs // vector), np.int64) for _ in books]
    values, errors = np.empty((2, columns, outputs))
    for start in range(0, columns, 128):
        stop = min(start + 128, columns)
        piece = np.array(work[:, start:stop].T, order="C")  # always a copy
        for j in range(start, stop):
            column = piece[j - start]
            found = _search(column.reshape(-1, vector), books)
            for book, index in zip(codes, found, strict=True):
                book[j] = index
            values[j] = _look_up(books, found).reshape(-1)
            errors[j] = column - values[j]
            column[:] = errors[j] / upper[j, j]
            make_up(piece[j - start + 1 :], column, upper[j, j + 1 : stop])
        work[:, stop:] -= piece.T @ upper[start:stop, stop:]
    return [np.ascontiguousarray(book.T) for book in codes], values.T, errors.T


def _format_of(found: VectorCodes) -> Format:
    residual = found.residual_codebook
    suffix = "" if residual is None else f"-r{len(residual)}"
    return formats.get(f"vptq-v{found.codebook.shape[1]}-k{len(found.codebook)}{suffix}")


def _joined(found: VectorCodes) -> NDArray[np.int64]:
    if found.residual_index is None:
        return found.index
    return found.residual_index << (len(found.codebook) - 1).bit_length() | found.index
