"""Values of attention variants: what a model computes after a rewrite, on real weights.

Takes q, k and v, or a module and rewrites (`plait.models.graph.rewrites`), gives outputs, or a
module that shares the weights and runs the variant. Next: `plait.models.attention.evaluate`, which
measures perplexity and a needle test at growing context. What the variants cost is in `plait.sim`.

Tensors are [heads, tokens, head_dim]; keys and values may have fewer heads, each then serves a
group of query heads. Queries are the last tokens of the keys.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "causal_attention": "exact",
    "hip_attention": "hip",
    "lambda_mask": "lm_infinite",
    "lm_infinite_attention": "lm_infinite",
    "long_context": "evaluate",
    "rewrite_module": "apply",
    "rotary_frequencies": "lm_infinite",
    "round_kv": "kv",
    "select_tokens": "gemfilter",
    "unified_max_attention": "unified_max",
    "unified_max_sum": "unified_max",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
