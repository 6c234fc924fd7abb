"""MX (Open Compute Project, version 1.0) and NVFP4: blocks of small floats with a shared scale.

Rounding is to nearest even; a block's largest value may clip, because the shared exponent is
rounded down. The search is plain rounding (`rtn`); these names make the choice explicit.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.granularity import Granularity, PerGroup
from plait.models.quantize.rtn import quantize_array
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["mx", "nvfp4"]


def mx(
    weight: NDArray[Any],
    format: str | Format = "mxfp4",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix [outputs, inputs] to an MX format; blocks of 32 lie along the inputs."""
    return _blocks(weight, format, "power_of_two", "mxfp4", scale_bits)


def nvfp4(
    weight: NDArray[Any],
    format: str | Format = "nvfp4",
    granularity: Granularity | None = None,
    scale_bits: int | None = None,
) -> QuantizedTensor:
    """Quantise one matrix [outputs, inputs] to NVFP4; blocks of 16 lie along the inputs."""
    return _blocks(weight, format, "two_level", "nvfp4", scale_bits)


def _blocks(
    weight: NDArray[Any], format: str | Format, rule: str, expected: str, scale_bits: int | None
) -> QuantizedTensor:
    fmt = formats.get(format)
    if fmt.scale_rule != rule or fmt.group_size is None or scale_bits is not None:
        raise FormatError("not for this method", where="format", got=fmt.name, expected=expected)
    return quantize_array(weight, fmt, PerGroup(fmt.group_size))
