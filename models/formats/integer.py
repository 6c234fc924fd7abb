"""Integers of 2 to 8 bits, symmetric and with a zero point, and ternary.

Code layout: symmetric = two's complement, with the most negative code unused, so that the grid is
the same on both sides; asymmetric = unsigned, weight = scale * (code - zero); ternary = two's
complement of 2 bits: 00 is 0, 01 is +1, 11 is -1.

Source: ternary as in the MatMul-free language model, arXiv 2406.02528; int4-dual as in DGQ,
arXiv 2310.04836.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.models.formats.base import Format

__all__ = ["FORMATS", "twos_complement"]

_WIDTHS = range(2, 9)


def twos_complement(bits: int) -> NDArray[np.float64]:
    """[1, 2**bits] value of each code; NaN at the most negative one, which symmetry leaves out."""
    codes = np.arange(1 << bits)
    values = np.where(codes >> (bits - 1), codes - (1 << bits), codes).astype(np.float64)
    values[1 << (bits - 1)] = np.nan
    return values[np.newaxis]


def _symmetric(bits: int) -> Format:
    return Format(
        name=f"int{bits}",
        code_bits=bits,
        table=twos_complement(bits),
        ties_even=(True,),
        scale_rule="absmax_integer",
        term_form="booth",
        summary=f"symmetric integers of {bits} bits",
    )


def _asymmetric(bits: int) -> Format:
    return Format(
        name=f"int{bits}-asym",
        code_bits=bits,
        table=np.arange(float(1 << bits))[np.newaxis],
        ties_even=(True,),
        scale_rule="affine",
        zero_bits=bits,
        summary=f"integers of {bits} bits with a zero point a group",
    )


FORMATS = (
    Format(
        name="int4-dual",
        code_bits=4,
        table=np.arange(16.0)[np.newaxis],
        ties_even=(True,),
        scale_rule="affine",
        zero_bits=8,
        signed_zeros=True,
        summary="integers of 4 bits that expand to INT8: (code - zero) * integer scale (DGQ)",
    ),
    Format(
        name="int8-outlier",
        code_bits=8,
        table=twos_complement(8),
        ties_even=(True,),
        scale_rule="absmax_integer",
        term_form="booth",
        default_group_size="channel",
        outlier_share=0.001,  # LLM.int8(): more than 99.9 % of the values are multiplied in INT8
        summary="int8 a channel; large columns of the activations in FP16 beside it (LLM.int8())",
    ),
    *(_symmetric(bits) for bits in _WIDTHS),
    *(_asymmetric(bits) for bits in _WIDTHS),
    Format(
        name="ternary",
        code_bits=2,
        table=twos_complement(2),
        ties_even=(True,),
        scale_rule="absmean",
        default_group_size="tensor",
        term_form="booth",
        summary="-1, 0, +1 times the mean magnitude of the tensor",
    ),
)
