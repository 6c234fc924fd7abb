"""ANT: flint and power-of-two grids, and a group's choice among 4-bit types.

Code layout: sign | rank of the magnitude in rising order; minus zero is unused. (The ANT paper
stores flint with a leading-one prefix; here the decoder is a table, so the order is free.) A
choice such as ant4 keeps each type's own layout, int4 in two's complement, but rounds all of them
by the rule for grids: on a midpoint to the lower neighbour.

Source: ANT, arXiv 2208.14286.
"""

from __future__ import annotations

import numpy as np

from plait.models.formats.base import Format
from plait.models.formats.integer import twos_complement

__all__ = ["FORMATS"]


def _by_rank(name: str, magnitudes: tuple[float, ...], summary: str) -> Format:
    bits = len(magnitudes).bit_length()
    table = np.concatenate([magnitudes, np.negative(magnitudes)]).astype(np.float64)
    table[len(magnitudes)] = np.nan
    return Format(
        name=name,
        code_bits=bits,
        table=table[np.newaxis],
        ties_even=(False,),
        scale_rule="absmax_grid",
        term_form="signed_binary",
        summary=summary,
    )


_FLINT4 = _by_rank("flint4", (0, 1, 2, 3, 4, 6, 8, 16), "flint: integers below, floats above")
_FLINT5 = _by_rank(
    "flint5", (*range(9), 10, 12, 14, 16, 24, 32, 64), "flint: integers below, floats above"
)
_POT4 = _by_rank("pot4", (0, 1, 2, 4, 8, 16, 32, 64), "powers of two")


def _choice(name: str, others: tuple[Format, ...], summary: str) -> Format:
    tables = (twos_complement(4), *(other.table for other in others))
    return Format(
        name=name,
        code_bits=4,
        table=np.concatenate(tables),
        ties_even=(False,) * len(tables),
        scale_rule="absmax_grid",
        selector_bits=len(others).bit_length(),
        term_form="signed_binary",
        summary=summary,
    )


FORMATS = (
    _FLINT4,
    _FLINT5,
    _POT4,
    _choice("ant4", (_FLINT4,), "int4 or flint4, the better one a group"),
    _choice("ant4-pot4", (_FLINT4, _POT4), "int4, flint4 or pot4, the best one a group"),
)
