"""From INT32 sums to elements: bias, multiplier and rounding of the sparse DSP core's output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.models.golden.fixed import round_half_even
from plait.models.golden.special_functions import saturate

__all__ = ["Channels", "linear", "output"]


@dataclass(frozen=True, slots=True)
class Channels:
    """What a linear layer does to its sums, a value an output channel.

    Args:
        bias: int32 [outputs], in units of the sums.
        multiplier: uint16 [outputs].
        shift: 0 to 63 [outputs]; an element is (sum + bias) * multiplier / 2**shift.
        is_int8: elements are saturated to 8 bits, else to 16.
    """

    bias: NDArray[np.int32]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]
    is_int8: bool


def output(sums: ArrayLike, channels: Channels, relu: bool = False) -> NDArray[np.int64]:
    """Give elements [rows, outputs] of INT32 sums [rows, outputs]; ``relu`` clips them at 0."""
    total = np.asarray(sums, np.int64) + channels.bias.astype(np.int64)
    product = total * channels.multiplier.astype(np.int64)
    elements = saturate(round_half_even(product, channels.shift), 8 if channels.is_int8 else 16)
    return np.maximum(elements, 0) if relu else elements


def linear(
    codes: ArrayLike, activations: ArrayLike, channels: Channels, relu: bool = False
) -> NDArray[np.int64]:
    """Multiply INT8 activations [rows, inputs] by integer weights [outputs, inputs].

    Sums wrap at 32 bits as the accumulators do; up to 131071 inputs they cannot.
    """
    sums = np.asarray(activations, np.int64) @ np.asarray(codes, np.int64).T
    wrapped = (sums + (1 << 31)) % (1 << 32) - (1 << 31)
    return output(wrapped, channels, relu)
