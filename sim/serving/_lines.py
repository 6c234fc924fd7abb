"""How the kernel is compiled, and reads a value off a grid: lines and planes between points."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from plait.sim.serving.bins import FLOOR_S, RATIO

__all__ = ["OPTIONS", "gap_bin", "inner", "line", "plane"]

# What would only take time to compile is left out: the counting of references, as nothing here
# allocates an array, and wrappers, as only `advance` is called from Python.
OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy"}
_WITHOUT_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(**OPTIONS, **_WITHOUT_WRAPPERS)


@inner
def _cell(grid, x):
    """The interval of the grid that holds x, the last one beyond its end."""
    low, high = 0, len(grid) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if grid[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@inner
def line(grid, values, x):
    if len(grid) == 1:
        return values[0]
    a = _cell(grid, x)
    share = (x - grid[a]) / (grid[a + 1] - grid[a])
    return values[a] + share * (values[a + 1] - values[a])


@inner
def plane(rows, columns, values, x, y):
    if len(rows) == 1:
        return line(columns, values[0], y)
    a = _cell(rows, x)
    share = (x - rows[a]) / (rows[a + 1] - rows[a])
    low, high = line(columns, values[a], y), line(columns, values[a + 1], y)
    return low + share * (high - low)


@inner
def gap_bin(gap, bins):
    """The bin of a time; bins grow by RATIO."""
    if gap <= FLOOR_S:
        return 0
    return min(1 + int(math.log(gap / FLOOR_S) / math.log(RATIO)), bins - 1)
