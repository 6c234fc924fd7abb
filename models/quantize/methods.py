"""The methods by name, and ``quantize``, which picks one.

A method is a function ``(weight, format, granularity, *, scale_bits=None, ...) -> QuantizedTensor``
of one matrix; what it needs beyond (``inputs`` to calibrate with, options) are keyword arguments of
its own. A new one is a file and a line in ``_METHODS``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from plait.errors import FormatError, unknown_name
from plait.models import formats
from plait.models.formats import Format
from plait.models.quantize.granularity import parse_granularity
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["get_method", "method_names", "quantize"]

_METHODS = {  # name -> module and function, imported when asked for
    "rtn": "plait.models.quantize.rtn:quantize_array",
    "gptq": "plait.models.quantize.gptq:gptq",
    "awq": "plait.models.quantize.awq:awq",
    "llm-int8": "plait.models.quantize.llm_int8:llm_int8",
    "dgq": "plait.models.quantize.dgq:dgq",
    "finequant": "plait.models.quantize.finequant:finequant",
    "edkm": "plait.models.quantize.edkm:edkm",
    "two-bit-mix": "plait.models.quantize.two_bit_mix:two_bit_mix",
    "vptq": "plait.models.quantize.vptq:vptq",
    "aqlm": "plait.models.quantize.aqlm:aqlm",
    "pv-tuning": "plait.models.quantize.pv_tuning:pv_tuning",
    "ternary": "plait.models.quantize.ternary:ternary",
    "mx": "plait.models.quantize.mx:mx",
    "sparse": "plait.models.quantize.sparse:sparse",
    "nvfp4": "plait.models.quantize.mx:nvfp4",
}

Method = Callable[..., QuantizedTensor]


def method_names() -> list[str]:
    """Names that ``quantize(..., method=)`` takes."""
    return list(_METHODS)


def get_method(name: str) -> Method:
    """The function of a method; underscores stand for hyphens."""
    name = name.replace("_", "-") if isinstance(name, str) else name
    if name not in _METHODS:
        raise FormatError(unknown_name("method", name, _METHODS), where="method")
    module, function = _METHODS[name].split(":")
    method: Method = getattr(import_module(module), function)
    return method


def quantize(
    source: Any,
    format: str | Format,
    group_size: int | str | None = None,
    method: str = "rtn",
    scale_bits: int | None = None,
    **configuration: Any,
) -> Any:
    """Quantise a matrix, or the linears of a torch module.

    Args:
        source: an array or torch tensor [outputs, inputs], or a torch.nn.Module.
        format: a format or its name.
        group_size: weights that share a scale, "channel" or "tensor"; None = the format's own.
        method: one of ``method_names()``.
        scale_bits: None for FP32 scales, 8 for integers times an FP16 step a channel.
        configuration: what the method takes besides; for a module also what
            ``swap.quantize_module`` takes.

    Returns:
        A QuantizedTensor for a matrix; for a module, a copy with QuantizedLinear inside.

    >>> import numpy as np
    >>> quantize(np.eye(4), "int4", group_size="channel").bits_per_weight  # an FP32 scale for four
    12.0
    """
    fmt = formats.get(format)
    if _is_module(source):
        from plait.models.quantize.swap import quantize_module

        return quantize_module(
            source,
            fmt,
            group_size=group_size,
            method=method,
            scale_bits=scale_bits,
            **configuration,
        )
    function = get_method(method)
    _check_options(method, function, configuration)
    granularity = parse_granularity(group_size, fmt)
    return function(_as_array(source), fmt, granularity, scale_bits=scale_bits, **configuration)


def _is_module(source: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever holds a module has loaded torch
    return torch is not None and isinstance(source, torch.nn.Module)


def _as_array(source: Any) -> Any:
    """A torch tensor as an array (bfloat16 has no NumPy type, hence float)."""
    return source.detach().float().cpu().numpy() if hasattr(source, "detach") else source


def _check_options(method: str, function: Method, configuration: dict[str, Any]) -> None:
    known = list(inspect.signature(function).parameters)[3:]
    for name in configuration:
        if name not in known:
            raise FormatError(unknown_name("option", name, known), where=f"method {method}")
