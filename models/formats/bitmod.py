"""BitMoD: a floating-point grid whose code of minus zero means one of four special values.

Code layout: sign | magnitude, the magnitudes of fp3 (0 1 2 4) or fp4 (0 1 2 3 4 6 8 12) in rising
order; the code of minus zero (100, 1000) is the special value. A group stores which one, in the
order extra resolution +, -, extra range +, -.

Source: BitMoD, arXiv 2411.11745.
"""

from __future__ import annotations

import numpy as np

from plait.models.formats.base import Format
from plait.models.formats.minifloat import minifloat

__all__ = ["FORMATS"]


def _bitmod(bits: int, special_values: tuple[float, ...]) -> Format:
    mantissa_bits = bits - 3
    base = minifloat(2, mantissa_bits, bias=1 - mantissa_bits)
    table = np.repeat(base, len(special_values), axis=0)
    table[:, 1 << (bits - 1)] = special_values
    return Format(
        name=f"bitmod{bits}",
        code_bits=bits,
        table=table,
        ties_even=(False,) * len(special_values),
        scale_rule="absmax_grid",
        selector_bits=2,
        term_form="signed_binary",
        summary=f"fp{bits} and one of the special values "
        + ", ".join(f"{value:g}" for value in special_values)
        + " a group",
    )


FORMATS = (
    _bitmod(3, (3.0, -3.0, 6.0, -6.0)),
    _bitmod(4, (10.0, -10.0, 16.0, -16.0)),
)
