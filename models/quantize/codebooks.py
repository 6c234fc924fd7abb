"""What the codes of a codebook format mean: the decoder of each, as array arithmetic.

Takes a QuantizedTensor whose format has no table of its own, gives float32 [outputs, inputs].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.models.formats import unpack_codes
from plait.models.quantize.layout import BLOCK

if TYPE_CHECKING:
    from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["decode_codebook"]

Float32 = NDArray[np.float32]


def decode_codebook(tensor: QuantizedTensor) -> Float32:
    """The weights that the codes of a tensor mean, float32 [outputs, inputs]."""
    return _DECODERS[tensor.format.decoder](tensor)


def _palette(tensor: QuantizedTensor) -> Float32:
    """Each row looks up in the palette of its row group: extras ``lut`` float16 [luts, entries]."""
    luts = tensor.extras["lut"].astype(np.float32)
    rows = -(-tensor.shape[0] // luts.shape[0])
    lut_of_row = np.arange(tensor.shape[0]) // rows
    return luts[lut_of_row[:, np.newaxis], tensor.codes]


def _vector(tensor: QuantizedTensor) -> Float32:
    """Columns of vectors, in the order of ``permutation``, times their scale plus their bias."""
    extras, fmt = tensor.extras, tensor.format
    index_bits = (fmt.books[0] - 1).bit_length()
    codebook = extras["codebook"].astype(np.float32)
    vectors = codebook[tensor.codes & ((1 << index_bits) - 1)]  # [rows, inputs, v]
    if len(fmt.books) > 1:
        residuals = extras["residual_codebook"].astype(np.float32)
        vectors = vectors + residuals[tensor.codes >> index_bits]
    outputs, inputs = tensor.shape
    weight = vectors.transpose(0, 2, 1).reshape(-1, inputs)[:outputs]
    if "column_scales" in extras:
        scales, biases = (extras[f"column_{name}"] for name in ("scales", "biases"))
        weight = weight * scales.astype(np.float32) + biases.astype(np.float32)
    restored = np.empty_like(weight)
    restored[:, extras["permutation"].astype(np.intp)] = weight
    return restored


def _additive(tensor: QuantizedTensor) -> Float32:
    """Sum of one vector of each codebook, times the scale of the row."""
    books = tensor.extras["codebooks"].astype(np.float32)  # [M, entries, g]
    outputs, inputs = tensor.shape
    codes = tensor.codes.reshape(outputs, -1, len(books))
    total = sum(
        (book[codes[:, :, m]] for m, book in enumerate(books[1:], 1)), books[0][codes[..., 0]]
    )
    return np.ascontiguousarray(total.reshape(outputs, -1)[:, :inputs] * tensor.scales)


def _two_four(tensor: QuantizedTensor) -> Float32:
    """2-bit columns with second-order scales, 4-bit columns, then the outliers laid over."""
    extras, (outputs, inputs) = tensor.extras, tensor.shape
    groups = inputs // BLOCK
    wide = extras["wide_groups"].astype(np.intp)
    narrow = np.setdiff1d(np.arange(groups), wide)
    scales, zeros = np.empty((2, outputs, groups), np.float32)
    steps = np.repeat(extras["steps"].astype(np.float32), BLOCK, axis=0)[:outputs]
    scales[:, narrow] = steps * _small(extras["scale_codes"], outputs, narrow.size, 4)
    zeros[:, narrow] = _small(extras["zeros"], outputs, narrow.size, 2)
    scales[:, wide] = extras["wide_scales"].astype(np.float32)
    zeros[:, wide] = _small(extras["wide_zeros"], outputs, wide.size, 4)
    codes = tensor.codes.reshape(outputs, groups, BLOCK).astype(np.float32)
    weight = ((codes - zeros[..., np.newaxis]) * scales[..., np.newaxis]).reshape(outputs, inputs)
    if "outlier_values" in extras:
        rows = np.repeat(np.arange(outputs), extras["outlier_counts"])
        weight[rows, extras["outlier_columns"]] = extras["outlier_values"].astype(np.float32)
    return weight


def _small(packed: NDArray[np.uint8], rows: int, columns: int, bits: int) -> Float32:
    return unpack_codes(packed, rows * columns, bits).reshape(rows, columns).astype(np.float32)


_DECODERS = {
    "palette": _palette,
    "vector": _vector,
    "additive": _additive,
    "two_four": _two_four,
}
