"""Replace the linears of a torch module by `QuantizedLinear`.

Takes a module; gives a copy. Block linears only: the output matrix stays unless asked for, the
router of a mixture (a linear called `gate`) always, because it is small and a wrong expert is a
large error. Next: `metrics` for what it costs, `plait.models.graph.export` for the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import Tensor, nn

from plait.errors import FormatError
from plait.models import formats
from plait.models.formats import Format
from plait.models.llm.experts import GroupedLinear
from plait.models.quantize.calibrate import collect
from plait.models.quantize.methods import quantize
from plait.models.quantize.qlinear import QuantizedGroupedLinear, QuantizedLinear

__all__ = ["measured_inputs", "quantizable", "quantize_module", "replace_linears"]

_HEADS = ("lm_head", "embed_out", "output")
_ROUTER = "gate"


def quantize_module(
    module: nn.Module,
    format: str | Format,
    group_size: int | str | None = None,
    method: str = "rtn",
    scale_bits: int | None = None,
    include_head: bool = False,
    only: str | Sequence[str] = "*",
    progress: Callable[[int, int], None] | None = None,
    **configuration: Any,
) -> nn.Module:
    """Quantise the block linears of a copy of a module.

    Args:
        module: left as it is; linears that are quantised already are kept.
        format: a format or its name.
        group_size: weights that share a scale, "channel" or "tensor"; None = the format's own.
        method: one of ``method_names()``.
        scale_bits: None for FP32 scales, 8 for integers times an FP16 step a channel.
        include_head: quantise the output matrix too (the embedding it may be tied to stays).
        only: patterns of module names, as ``layers.*.mlp.*``; the rest stays.
        progress: called with the weights quantised and the weights in all.
        configuration: what the method takes besides; ``inputs`` are here tokens (batch, window)
            that run through the module to calibrate it, or what `calibrate.collect` gave for them.
    """
    fmt = formats.get(format)
    patterns = [only] if isinstance(only, str) else list(only)
    chosen = [
        (name, linear)
        for name, linear in quantizable(module, include_head)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    if not chosen:
        raise FormatError("no linear layers to quantise", where=type(module).__name__, got=only)
    calibration = configuration.pop("inputs", None)
    measured = measured_inputs(module, calibration, dict(chosen))
    total, done = sum(linear.weight.numel() for _, linear in chosen), 0
    replaced: dict[int, Any] = {}
    for name, linear in chosen:
        options: dict[str, Any] = {
            "group_size": group_size,
            "method": method,
            "scale_bits": scale_bits,
        }
        if measured:
            options["inputs"] = measured[name]
        replaced[id(linear)] = _quantised(name, linear, fmt, options | configuration)
        done += linear.weight.numel()
        if progress:
            progress(done, total)
    return _copied(module, replaced)


def measured_inputs(
    module: nn.Module, calibration: Any, layers: dict[str, Any]
) -> Mapping[str, Any]:
    """Statistics of each layer from tokens, or those given; none without calibration data."""
    if calibration is None:
        return {}
    if not isinstance(calibration, Mapping):
        return collect(module, calibration, layers)
    missing = [name for name in layers if name not in calibration]
    if missing:
        raise FormatError("no statistics", where=missing[0], expected="those of every layer")
    return calibration


def replace_linears(
    module: nn.Module, plans: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> nn.Module:
    """Quantise named linears of a copy of a module, each to its own format.

    Args:
        plans: format and options of `quantize` for each name.
    """
    layers = dict(module.named_modules())
    replaced = {
        id(layers[name]): _quantised(name, layers[name], formats.get(fmt), dict(options))
        for name, (fmt, options) in plans.items()
    }
    return _copied(module, replaced)


def quantizable(module: nn.Module, include_head: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield name and layer of what `quantize_module` replaces."""
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear | GroupedLinear) and not _is_conv1d(layer):
            continue
        last = name.rpartition(".")[2]
        is_head = name in _HEADS or last == _HEADS[0] or id(layer.weight) in embeddings
        if last != _ROUTER and (include_head or not is_head):
            yield name, layer


def _quantised(name: str, layer: Any, fmt: Format, options: dict[str, Any]) -> nn.Module:
    weight = layer.weight
    if weight.is_meta:
        raise FormatError("has a shape and no weights", where=name, expected="a loaded module")
    matrix = _matrix(weight.T if _is_conv1d(layer) else weight)
    try:
        tensor = quantize(matrix, fmt, **options)
    except FormatError as error:
        raise FormatError(str(error), where=name) from error
    if isinstance(layer, GroupedLinear):
        return QuantizedGroupedLinear(tensor, weight.shape[0])
    return QuantizedLinear(tensor, layer.bias)


def _matrix(weight: Tensor) -> np.ndarray[Any, Any]:
    """Float32 [outputs, inputs]; stacked experts become one matrix of all their rows."""
    return weight.detach().float().cpu().numpy().reshape(-1, weight.shape[-1])


def _is_conv1d(layer: nn.Module) -> bool:
    """The linear of transformers' GPT-2, whose weight is [inputs, outputs]."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf")


def _copied(module: nn.Module, replaced: dict[int, Any]) -> nn.Module:
    """Copy a module with some layers exchanged; a tokenizer is shared, not copied."""
    tokenizer = getattr(module, "tokenizer", None)
    return copy.deepcopy(module, replaced | {id(tokenizer): tokenizer})
