"""Block formats of the Open Compute Project (MX) and NVIDIA (NVFP4).

Code layout of an element: sign | exponent | mantissa with the standard's values (not doubled);
mxint8 is two's complement in 64ths, -128 unused. The block's scale is an E8M0 code (2^(code-127),
255 = NaN) for MX and an E4M3 code for NVFP4, which adds one FP32 scale a tensor.

Source: OCP Microscaling Formats (MX) Specification, version 1.0; NVFP4 as in NVIDIA's Blackwell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.models.formats.base import Format
from plait.models.formats.integer import twos_complement
from plait.models.formats.minifloat import Specials, minifloat

__all__ = ["FORMATS"]


def _mx(name: str, exponent_bits: int, mantissa_bits: int, bias: int, specials: Specials) -> Format:
    return Format(
        name=name,
        code_bits=1 + exponent_bits + mantissa_bits,
        table=minifloat(exponent_bits, mantissa_bits, bias, specials),
        ties_even=(True,),
        scale_rule="power_of_two",
        group_size=32,
        default_group_size=32,
        block_scale_bits=8,
        term_form="signed_binary",
        keeps_minus_zero=True,
        summary=f"E{exponent_bits}M{mantissa_bits} in blocks of 32 with an E8M0 scale",
    )


def _sixty_fourths() -> NDArray[np.float64]:
    return twos_complement(8) / 64


FORMATS = (
    _mx("mxfp4", 2, 1, 1, "none"),
    _mx("mxfp6-e2m3", 2, 3, 1, "none"),
    _mx("mxfp6-e3m2", 3, 2, 3, "none"),
    _mx("mxfp8-e4m3", 4, 3, 7, "nan"),
    _mx("mxfp8-e5m2", 5, 2, 15, "ieee"),
    Format(
        name="mxint8",
        code_bits=8,
        table=_sixty_fourths(),
        ties_even=(True,),
        scale_rule="power_of_two",
        group_size=32,
        default_group_size=32,
        block_scale_bits=8,
        term_form="booth",
        summary="integers of 8 bits over 64 in blocks of 32 with an E8M0 scale",
    ),
    Format(
        name="nvfp4",
        code_bits=4,
        table=minifloat(2, 1, bias=1),
        ties_even=(True,),
        scale_rule="two_level",
        group_size=16,
        default_group_size=16,
        block_scale_bits=8,
        tensor_scale_bits=32,
        term_form="signed_binary",
        keeps_minus_zero=True,
        summary="E2M1 in blocks of 16 with an E4M3 scale, and an FP32 scale a tensor",
    ),
)
