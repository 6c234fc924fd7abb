"""Writes plait_sd_tables_pkg.sv: the tables of the special functions, from their golden model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.hwgen.design import render
from plait.models.golden import special_functions as golden

__all__ = ["tables_package"]


def tables_package() -> str:
    """Give the text of the package."""
    return render(
        "plait_sd_tables_pkg.sv.j2",
        unit_bits=golden.UNIT_BITS,
        log_fraction_bits=golden.LOG_FRACTION_BITS,
        gate_fraction_bits=golden.GATE_FRACTION_BITS,
        reciprocal_exponent=golden.RECIPROCAL_EXPONENT,
        tables=[
            _view("EXPONENTIAL", "2**-x for x from 0 to 1", golden.EXPONENTIAL),
            _view("SIGMOID", "1 / (1 + e**-x) for x from 0 to 16", golden.SIGMOID),
            _view("NORMAL", "the normal distribution's function from 0 to 16", golden.NORMAL),
        ],
    )


def _view(name: str, note: str, table: NDArray[np.int64]) -> dict[str, object]:
    """One function; the entries on the right that are like the last one are its default."""
    entries = table.tolist()
    while entries[-1:] == [int(table[-1])]:
        entries.pop()
    return {
        "name": name,
        "function": name.lower(),
        "note": note,
        "segments": len(table) - 1,
        "index_bits": (len(table) - 1).bit_length(),
        "entries": entries,
        "last": int(table[-1]),
    }
