"""LLM.int8(): INT8 with the outlier columns of the activations in FP16 (arXiv 2208.07339).

Weights: one scale a row, offline. Activations: one scale a token, found when they arrive; columns
with a value of 6 or more leave the INT8 product and go through an FP16 one beside it.
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
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["ActivationCodes", "linear", "llm_int8", "quantise_activations", "quantise_rows"]

THRESHOLD = 6.0
_LARGEST = np.float32(127)


@dataclass(frozen=True, slots=True, eq=False)
class ActivationCodes:
    """INT8 codes int64 [tokens, inputs], scales float32 [tokens], outlier columns."""

    codes: NDArray[np.int64]
    scales: NDArray[np.float32]
    outliers: NDArray[np.intp]


def quantise_rows(weight: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Codes [outputs, inputs] and max|w| of each row, from weights rounded to FP16.

    A row of zeros gets codes of zero.
    """
    half = np.asarray(weight).astype(np.float16).astype(np.float32)
    largest = np.abs(half).max(axis=1)
    safe = np.where(largest > 0, largest, np.float32(1))
    return np.rint(half * (_LARGEST / safe)[:, None]).astype(np.int64), largest


def quantise_activations(inputs: NDArray[Any], threshold: float = THRESHOLD) -> ActivationCodes:
    """Quantise activations [tokens, inputs], rounded to FP16.

    Small values of an outlier column still count for their token's scale. With one token only
    the elements themselves are zeroed, which is the same.
    """
    half = np.asarray(inputs).astype(np.float16).astype(np.float32)
    large = np.abs(half) >= threshold
    columns = np.flatnonzero(large.any(axis=0))
    scales = np.abs(np.where(large, 0, half)).max(axis=1)
    safe = np.where(scales > 0, scales, np.float32(1))
    codes = np.rint(half * (_LARGEST / safe)[:, None]).astype(np.int64)
    codes[large] = 0
    if half.shape[0] > 1:
        codes[:, columns] = 0
    return ActivationCodes(codes, scales, columns)


def linear(
    inputs: NDArray[Any],
    weight: NDArray[Any],
    threshold: float = THRESHOLD,
    outlier_weights: str = "int8",
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Outputs float64 [tokens, outputs] and the INT32 sums behind them.

    Args:
        outlier_weights: ``int8`` (today's code: the outlier columns of the weights come from their
            codes) or ``fp16`` (the paper: they are kept).
    """
    codes, largest = quantise_rows(weight)
    seen = quantise_activations(inputs, threshold)
    sums = seen.codes @ codes.T
    step = largest.astype(np.float64) / 127
    outputs = sums * (seen.scales.astype(np.float64) / 127)[:, None] * step
    outliers = np.asarray(inputs).astype(np.float16).astype(np.float64)[:, seen.outliers]
    if outlier_weights == "int8":
        beside = codes[:, seen.outliers] * step[:, None]
    elif outlier_weights == "fp16":
        beside = np.asarray(weight).astype(np.float16).astype(np.float64)[:, seen.outliers]
    else:
        raise FormatError(
            "no such weights", where="outlier_weights", got=outlier_weights, expected="int8 or fp16"
        )
    return outputs + outliers @ beside.T, sums


def llm_int8(
    weight: NDArray[Any],
    format: str | Format = "int8",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix as LLM.int8() stores it: INT8, one FP32 scale a row.

    Args:
        weight: [outputs, inputs].
        format: ``int8``, or ``int8-outlier``: the same codes, and machines are asked for the FP16
            path beside their array.
        granularity: a scale a row, whatever is asked for but one a tensor.
        scale_bits: 32 (the default) or 16.
    """
    fmt = formats.get(format)
    wrong_scales = isinstance(granularity, PerTensor) or scale_bits not in (None, 16, 32)
    if fmt.name not in ("int8", "int8-outlier") or wrong_scales:
        raise FormatError(
            "not for this method", where="method llm-int8", got=fmt.name, expected="int8 a channel"
        )
    matrix = check_weight(weight)
    if np.abs(matrix).max() > np.finfo(np.float16).max:
        raise FormatError("beyond FP16", where="weight", got=float(np.abs(matrix).max()))
    codes, largest = quantise_rows(matrix)
    safe = np.where(largest > 0, largest, np.float32(1))
    scales: NDArray[np.float32] = (safe / _LARGEST).astype(np.float32)[:, None]
    if scale_bits == 16:
        scales = scales.astype(np.float16).astype(np.float32)
    return QuantizedTensor(
        format=fmt,
        codes=(codes & 255).astype(np.uint8),
        group_size=matrix.shape[1],
        scales=scales,
        selectors=np.zeros(scales.shape, np.uint8),
        scale_bits=scale_bits or 32,
    )
