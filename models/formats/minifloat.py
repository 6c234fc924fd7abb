"""Small floating-point formats: fp3 to fp8, fp16, bf16.

Code layout: sign | exponent | mantissa, the IEEE order. fp3 to fp6 have no infinity or NaN and are
scaled to integers (fp4 is twice E2M1), because a scale absorbs the factor; fp8 and wider keep the
values of their standards.

Source: IEEE 754 (fp16), OCP 8-bit Floating Point Specification (fp8); fp3 to fp6 as the data types
of BitMoD, arXiv 2411.11745.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plait.models.formats.base import Format

__all__ = ["FORMATS", "minifloat"]

Specials = Literal["none", "nan", "ieee"]


def minifloat(
    exponent_bits: int, mantissa_bits: int, bias: int, specials: Specials = "none"
) -> NDArray[np.float64]:
    """[1, 2**bits] value of each code.

    Args:
        specials: "none" = every code is a number; "nan" = only the last code of each sign is NaN;
            "ieee" = the highest exponent holds infinity and NaN.

    >>> minifloat(2, 1, bias=1)[0, :8].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    codes = np.arange(1 << (exponent_bits + mantissa_bits))
    exponent, mantissa = codes >> mantissa_bits, codes & ((1 << mantissa_bits) - 1)
    hidden = np.where(exponent > 0, 1 << mantissa_bits, 0)
    power = np.maximum(exponent, 1) - bias - mantissa_bits
    magnitude = np.ldexp((hidden + mantissa).astype(np.float64), power)
    if specials == "nan":
        magnitude[-1] = np.nan
    elif specials == "ieee":
        highest = exponent == (1 << exponent_bits) - 1
        magnitude[highest] = np.where(mantissa[highest] == 0, np.inf, np.nan)
    return np.concatenate([magnitude, -magnitude])[np.newaxis]


def _integer_grid(exponent_bits: int, mantissa_bits: int) -> NDArray[np.float64]:
    """Scaled so that the smallest value above zero is 1."""
    return minifloat(exponent_bits, mantissa_bits, bias=1 - mantissa_bits)


def _scaled(name: str, exponent_bits: int, mantissa_bits: int) -> Format:
    bits = 1 + exponent_bits + mantissa_bits
    return Format(
        name=name,
        code_bits=bits,
        table=_integer_grid(exponent_bits, mantissa_bits),
        ties_even=(False,),
        scale_rule="absmax_grid",
        term_form="signed_binary",
        summary=f"floating point E{exponent_bits}M{mantissa_bits} as an integer grid",
    )


def _fp8(name: str, exponent_bits: int, bias: int, specials: Specials) -> Format:
    mantissa_bits = 7 - exponent_bits
    return Format(
        name=name,
        code_bits=8,
        table=minifloat(exponent_bits, mantissa_bits, bias, specials),
        ties_even=(True,),
        scale_rule="absmax_grid",
        term_form="signed_binary",
        keeps_minus_zero=True,
        summary=f"floating point E{exponent_bits}M{mantissa_bits} of 8 bits",
    )


def _half(name: str, exponent_bits: int, mantissa_bits: int, bias: int) -> Format:
    return Format(
        name=name,
        code_bits=16,
        table=minifloat(exponent_bits, mantissa_bits, bias, "ieee"),
        ties_even=(True,),
        scale_rule="none",
        keeps_minus_zero=True,
        summary=f"floating point E{exponent_bits}M{mantissa_bits} of 16 bits, unscaled",
    )


FORMATS = (
    _scaled("fp3", 2, 0),
    _scaled("fp4", 2, 1),
    _scaled("fp5-e2m2", 2, 2),
    _scaled("fp5-e3m1", 3, 1),
    _scaled("fp6-e2m3", 2, 3),
    _scaled("fp6-e3m2", 3, 2),
    _fp8("fp8-e4m3", 4, 7, "nan"),
    _fp8("fp8-e5m2", 5, 15, "ieee"),
    _half("fp16", 5, 10, 15),
    _half("bf16", 8, 7, 127),
)
