"""Graphs of decoder LLMs: few op kinds, repeated layers once, sizes bound late.

Takes a zoo name, a .pt2 file, a Hugging Face folder or a torch.nn.Module; gives a `Graph`, and by
`Graph.bind` a `Workload`: a table, one row an op. Next: `plait.sim`, which costs that table.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Graph": "graph",
    "Op": "ops",
    "Workload": "workload",
    "export_module": "export",
    "load_graph": "load",
    "save": "archive",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
