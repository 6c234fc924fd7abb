"""Rewrites of a Graph: what attention variants and sparse models change, one a file.

Takes a Graph (or a step of it) and a text such as ``lm-infinite:sinks=10,window=4096``, gives the
changed one; `plait.models.attention` computes the values of the same variants on real weights, and
`plait.sim` costs the changed graph on any machine. A pass (`plait.models.graph.passes`) recognises
what a program is; a rewrite changes what it does, and says whether its outputs differ.

>>> from plait.models.graph.rewrites import parse
>>> parse("gemfilter:layer=13,keep=1024")
GemFilter(layer=13, keep=1024, generated=1)
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "DuoLLM": "duo_llm",
    "FlatGEMM": "flat_gemm",
    "GemFilter": "gemfilter",
    "GroupedKV": "grouped_kv",
    "HiP": "hip",
    "KVFormat": "kv_format",
    "LMInfinite": "lm_infinite",
    "MoE": "moe",
    "Rewrite": "base",
    "Step": "base",
    "UnifiedMax": "unified_max",
    "apply": "registry",
    "parse": "registry",
    "rewrite_names": "registry",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
