"""Reports: takes a Breakdown, gives a table, totals, JSON, CSV, figures and a page."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {"Report": "report", "Roof": "roof"}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.report' has no attribute {name!r}")
