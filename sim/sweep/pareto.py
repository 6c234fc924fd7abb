"""The Pareto front: designs that no other one beats in every objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["front", "nondominated", "objective_matrix"]

_BLOCK = 512


def front(
    frame: pd.DataFrame, minimise: Sequence[str] = (), maximise: Sequence[str] = ()
) -> pd.DataFrame:
    """Keep the rows on the front, sorted by the first objective.

    Args:
        frame: a sweep's frame.
        minimise: columns of which less is better.
        maximise: columns of which more is better.

    Raises:
        SpecError: a column that is not there, or holds no numbers; fewer than two objectives.

    >>> import pandas as pd
    >>> designs = pd.DataFrame({"seconds": [3, 1, 2, 2], "area_mm2": [1, 3, 2, 3]})
    >>> front(designs, minimise=["seconds", "area_mm2"]).index.tolist()
    [1, 2, 0]
    """
    points = objective_matrix(frame, minimise, maximise)
    kept = frame[nondominated(points)]
    first = [*minimise, *maximise][0]
    return kept.sort_values(first, ascending=first in minimise, kind="stable")


def objective_matrix(
    frame: pd.DataFrame, minimise: Sequence[str], maximise: Sequence[str]
) -> NDArray[np.float64]:
    """Give [rows, objectives], of which less is better; rows with NaN are infinitely bad."""
    names = [*minimise, *maximise]
    if len(names) < 2 or len(set(names)) < len(names):
        raise SpecError("two or more different columns are needed", where="objectives", got=names)
    columns = []
    for name in names:
        if name not in frame:
            raise SpecError(unknown_name("column", name, frame.columns), where="objectives")
        values: Any = frame[name].to_numpy()
        if values.dtype.kind not in "iuf":
            raise SpecError("holds no numbers", where=f"objectives: {name}")
        columns.append(np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf))
    signs = np.array([1.0] * len(minimise) + [-1.0] * len(maximise))
    matrix = np.column_stack(columns)
    matrix[np.isinf(matrix)] = np.inf * 1.0
    return np.where(np.isinf(matrix), np.inf, matrix * signs)


def nondominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which points no other one dominates (no worse anywhere, better somewhere).

    In lexicographic order nobody is dominated by a later point, so each block is compared with the
    front so far and with itself.

    Args:
        points: [points, objectives], less is better. Equal points stand or fall together.
    """
    distinct, index = np.unique(points, axis=0, return_inverse=True)  # sorted, first column first
    kept = np.zeros(len(distinct), dtype=bool)
    best = np.empty((0, points.shape[1]))
    for start in range(0, len(distinct), _BLOCK):
        block = distinct[start : start + _BLOCK]
        left = np.flatnonzero(~_dominated(block, best))
        inside = ~_dominated(block[left], block[left])
        chosen = left[inside]
        kept[start + chosen] = True
        best = np.concatenate([best, block[chosen]])
    kept &= np.isfinite(distinct).all(axis=1)
    return kept[index.reshape(-1)]


def _dominated(points: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which points one of ``by`` beats; a point does not beat its equal."""
    found = np.zeros(len(points), dtype=bool)
    for start in range(0, len(by), _BLOCK):
        others = by[start : start + _BLOCK]
        no_worse = np.ones((len(points), len(others)), dtype=bool)
        differs = np.zeros_like(no_worse)
        for axis in range(points.shape[1]):
            no_worse &= others[None, :, axis] <= points[:, None, axis]
            differs |= others[None, :, axis] != points[:, None, axis]
        found |= (no_worse & differs).any(axis=1)
    return found
