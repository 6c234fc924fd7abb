"""A stand-in for FineQuant (arXiv 2308.09723): its rule for the group size was never published.

Known: weights alone, groups found adaptively, INT4 or INT8 with FP16 activations. Assumed here:
start from whole rows and halve the group while the mean of the groups' largest magnitudes still
falls by more than ``alpha``. Every result says that it is a stand-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.gptq import check_scale_bits, stored_scales
from plait.models.quantize.granularity import Granularity
from plait.models.quantize.rtn import check_weight
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["GroupChoice", "choose_group", "finequant", "symmetric_codes"]

STAND_IN = "stand-in for FineQuant: the paper's own rule for the group size is not published"


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """The group size, and the relative fall of the range at each halving that was looked at."""

    group_size: int
    drops: tuple[float, ...]


def choose_group(weight: NDArray[Any], alpha: float = 0.05, smallest: int = 64) -> GroupChoice:
    """One group size a matrix [outputs, inputs]: halved while the mean range falls by > alpha."""
    matrix = np.abs(np.asarray(weight, np.float64))
    size, drops = matrix.shape[1], []
    while size % 2 == 0 and size // 2 >= smallest:
        drop = 1 - _mean_range(matrix, size // 2) / _mean_range(matrix, size)
        drops.append(float(drop))
        if not drop > alpha:
            break
        size //= 2
    return GroupChoice(size, tuple(drops))


def symmetric_codes(
    weight: NDArray[Any], bits: int, group_size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """round(w / scale) with scale = max|w| / (2^(bits-1) - 1): codes and scales, in float64."""
    matrix = np.asarray(weight, np.float64)
    groups = matrix.reshape(matrix.shape[0], -1, group_size)
    largest = np.abs(groups).max(axis=2)
    scales = np.where(largest > 0, largest, 1.0) / ((1 << (bits - 1)) - 1)
    codes = np.rint(groups / scales[..., None])
    return codes.reshape(matrix.shape).astype(np.int64), scales


def finequant(
    weight: NDArray[Any],
    format: str | Format = "int4",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
    alpha: float = 0.05,
    smallest: int = 64,
) -> QuantizedTensor:
    """Quantise one matrix by the stand-in of FineQuant.

    Args:
        weight: [outputs, inputs].
        format: symmetric integers, ``int4`` or ``int8``.
        granularity: ignored, because the method finds its groups.
        scale_bits: 16 (the default) or 32.
        alpha: fall of the mean range that a halving must bring.
        smallest: group below which no halving goes.
    """
    fmt = formats.get(format)
    if fmt.scale_rule != "absmax_integer":
        raise FormatError(
            "not for this method", where="method finequant", got=fmt.name, expected="int4"
        )
    matrix = check_weight(weight)
    choice = choose_group(matrix, alpha, smallest)
    codes, scales = symmetric_codes(matrix, fmt.code_bits, choice.group_size)
    bits = check_scale_bits(scale_bits, "finequant")
    return QuantizedTensor(
        format=fmt,
        codes=(codes & ((1 << fmt.code_bits) - 1)).astype(np.uint8),
        group_size=choice.group_size,
        scales=stored_scales(scales, bits),
        selectors=np.zeros(scales.shape, np.uint8),
        scale_bits=bits,
        notes=(STAND_IN,),
    )


def _mean_range(magnitudes: NDArray[np.float64], group_size: int) -> float:
    groups = magnitudes.reshape(magnitudes.shape[0], -1, group_size)
    return float(groups.max(axis=2).mean()) or 1.0
