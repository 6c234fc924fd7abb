"""The package of an attention unit: its widths, and the table of 2^x, from the golden model."""

from __future__ import annotations

import itertools

from plait.hwgen.design import render
from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT, Widths

__all__ = ["attention_package"]


def attention_package(widths: Widths = DEFAULT) -> str:
    """Text of plait_at_pkg.sv."""
    table = unit.exp2_table(widths.table_bits, widths.probability_bits)
    steps = [after - before for before, after in itertools.pairwise(table)]
    return render(
        "plait_at_pkg.sv.j2",
        widths=widths,
        unit=unit,
        step_bits=max(steps).bit_length(),
        rows=list(zip(table[:-1], steps, strict=True)),
    )
