"""Takes a space of designs, gives a frame with a row a design; then fronts and search.

`space` reads and checks the description, `where` its constraint, `evaluate` costs many designs at
once, `store` keeps finished chunks on disk, `run` puts them together; `pareto` and `genetic` choose
among designs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.sim.sweep.genetic import search
    from plait.sim.sweep.pareto import front
    from plait.sim.sweep.run import sweep
    from plait.sim.sweep.space import Space, load_space

__all__ = ["Space", "front", "load_space", "search", "sweep"]

_MODULES = {
    "Space": "space",
    "front": "pareto",
    "load_space": "space",
    "search": "genetic",
    "sweep": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
