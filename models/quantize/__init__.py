"""Quantising weights.

Takes a matrix or a PyTorch module and a Format, gives a QuantizedTensor or a module of
QuantizedLinear. Next: plait.models.graph (export), plait.models.golden and plait.hwgen.
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "PerChannel": "granularity",
    "PerGroup": "granularity",
    "PerTensor": "granularity",
    "QuantizedGroupedLinear": "qlinear",
    "QuantizedLinear": "qlinear",
    "QuantizedTensor": "tensor",
    "Statistics": "calibrate",
    "Yardstick": "metrics",
    "candidate_errors": "rtn",
    "collect": "calibrate",
    "compare": "metrics",
    "greedy_agreement": "metrics",
    "int8_activations": "activations",
    "kl_divergence": "metrics",
    "llm_int8_activations": "activations",
    "load_tensors": "storage",
    "method_names": "methods",
    "perplexity": "metrics",
    "quantize": "methods",
    "quantize_array": "rtn",
    "quantize_mixed": "mixed_precision",
    "quantize_module": "swap",
    "save_tensors": "storage",
    "sqnr_db": "metrics",
    "top1_agreement": "metrics",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
