"""The inner loop of column passes (GPTQ, VPTQ), compiled by numba."""

from __future__ import annotations

import numba

__all__ = ["make_up"]


@numba.njit(cache=True)
def make_up(columns, error, factors):
    """Subtract the error of one column from those after it.

    Args:
        columns: float64 [columns, outputs], changed; a column of the weights is a row here, so that
            what is read together lies together.
        error: float64 [outputs], divided by the diagonal of the inverse factor.
        factors: float64 [columns], that column's row of the inverse factor.
    """
    for j in range(factors.size):
        factor, column = factors[j], columns[j]
        for o in range(error.size):
            column[o] -= factor * error[o]
