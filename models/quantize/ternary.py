"""Ternary weights times INT8 activations (MatMul-free language model, arXiv 2406.02528).

A weight is -1, 0 or 1 times the mean magnitude of its matrix; an activation is INT8, a scale a
token, after a norm. The product needs no multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.granularity import Granularity, PerTensor
from plait.models.quantize.rtn import check_weight, quantize_array
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["Trits", "activation_codes", "bits_per_weight", "linear", "ternary", "trits"]

TRITS_IN_A_BYTE = 5  # 3^5 = 243
_SMALLEST_MEAN = 1e-5
_NORM_EPS = 1e-8

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trits:
    """Codes int64 [outputs, inputs] of -1, 0, 1 and their one scale."""

    codes: NDArray[np.int64]
    scale: float


def trits(weight: NDArray[Any]) -> Trits:
    """round(w / mean|w|) clamped to -1..1, in float64; half to even."""
    matrix = np.asarray(weight, np.float64)
    scale = max(float(np.abs(matrix).mean()), _SMALLEST_MEAN)
    return Trits(np.clip(np.rint(matrix / scale), -1, 1).astype(np.int64), scale)


def activation_codes(
    inputs: NDArray[Any], norm_weight: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], Float64]:
    """RMS norm, then INT8: codes [tokens, inputs] and codes a unit [tokens]."""
    values = np.asarray(inputs, np.float64)
    values = values / np.sqrt(np.square(values).mean(axis=-1, keepdims=True) + _NORM_EPS)
    if norm_weight is not None:
        values = values * norm_weight
    factors = 127 / np.maximum(np.abs(values).max(axis=-1), 1e-5)
    return np.clip(np.rint(values * factors[..., None]), -128, 127).astype(np.int64), factors


def linear(
    inputs: NDArray[Any], weight: NDArray[Any], norm_weight: NDArray[Any] | None = None
) -> tuple[Float64, NDArray[np.int64]]:
    """BitLinear: outputs float64 [tokens, outputs], and the integer sums behind them."""
    found = trits(weight)
    codes, factors = activation_codes(inputs, norm_weight)
    sums = codes @ found.codes.T
    return sums * found.scale / factors[:, None], sums


def bits_per_weight(outputs: int, inputs: int, packed: str = "2-bit") -> float:
    """Two bits a trit, or ``five-in-a-byte``; one 16-bit scale."""
    bits = {"2-bit": 2.0, "five-in-a-byte": 8 / TRITS_IN_A_BYTE}
    if packed not in bits:
        raise FormatError("no such packing", where="packed", got=packed, expected=" or ".join(bits))
    return bits[packed] + 16 / (outputs * inputs)


def ternary(
    weight: NDArray[Any],
    format: str | Format = "ternary",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix to trits with one scale, or one a row or group.

    Args:
        weight: [outputs, inputs].
        format: ``ternary``.
        granularity: how many weights share a scale; None = all.
        scale_bits: None for an FP32 scale.
    """
    fmt = formats.get(format)
    if fmt.name != "ternary":
        raise FormatError(
            "not for this method", where="method ternary", got=fmt.name, expected="ternary"
        )
    return quantize_array(check_weight(weight), fmt, granularity or PerTensor(), scale_bits)
