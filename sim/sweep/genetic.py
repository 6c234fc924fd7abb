"""Multi-objective search by NSGA-II (Optuna), for spaces too large to cost every design."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.errors import SpecError, ToolError
from plait.sim.sweep.evaluate import Evaluator
from plait.sim.sweep.pareto import front, objective_matrix
from plait.sim.sweep.space import Space, load_space

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["search"]

_POPULATION = 64


def search(
    space: str | Path | Mapping[str, Any] | Space,
    graph: object = None,
    *,
    minimise: Sequence[str] = ("seconds", "area_mm2"),
    maximise: Sequence[str] = (),
    trials: int = 2048,
    seed: int = 0,
    extra: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Look for the front without costing the whole space; a generation is costed at once.

    Designs that the constraint refuses never enter the front and breed worst.

    Args:
        space: as for `plait.sim.sweep.sweep`.
        graph: a Graph in place of the key ``model``.
        minimise: columns of which less is better.
        maximise: columns of which more is better.
        trials: designs to cost in all.
        seed: same seed, same result.
        extra: as for `plait.sim.sweep.sweep`.
        progress: called with the trials done and the trials in all.

    Returns:
        The front of what was seen, as of `plait.sim.sweep.front`.
    """
    import pandas as pd

    try:
        import optuna
    except ImportError:
        raise ToolError("is not installed", where="optuna", hint="pip install optuna") from None
    described = load_space(space, graph)
    evaluator = Evaluator(described)
    if trials < 1:
        raise SpecError("out of range", where="trials", got=trials, expected="at least 1")
    evaluator.check(extra or {}, [*minimise, *maximise])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize"] * (len(minimise) + len(maximise)),
        sampler=optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed),
    )
    seen = []
    for begun in range(0, trials, _POPULATION):
        asked = [study.ask() for _ in range(min(_POPULATION, trials - begun))]
        digits = [
            np.array([t.suggest_int(axis.key, 0, len(axis) - 1) for t in asked])
            for axis in described.axes
        ]
        frame, allowed = evaluator.chosen(digits, extra or {})
        points = np.where(np.isfinite(m := objective_matrix(frame, minimise, maximise)), m, 1e300)
        for trial, point, is_allowed in zip(asked, points, allowed, strict=True):
            trial.set_constraint("where", float(not is_allowed))  # above 0: refused
            study.tell(trial, point.tolist())
        seen.append(frame[allowed])
        if progress:
            progress(begun + len(asked), trials)
    found = pd.concat(seen, ignore_index=True).drop_duplicates(ignore_index=True)
    return front(found, minimise, maximise)
