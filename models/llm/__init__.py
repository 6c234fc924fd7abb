"""Decoder LLMs: published shapes, a plain PyTorch decoder, and loaders of real weights.

Takes a zoo name, a GGUF or a Hugging Face folder; gives an `LLMShape` or a `torch.nn.Module`.
Next: `plait.models.quantize` (its linears) and `plait.models.graph` (its export).
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Decoder": "decoder",
    "LLMShape": "config",
    "build_decoder": "decoder",
    "load_module": "weights",
    "load_shape": "config",
    "shape_from_huggingface": "config",
    "shape_names": "config",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
