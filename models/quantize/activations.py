"""Rounded activations: what a machine with integer operands does to the inputs of its linears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from plait.models.quantize.llm_int8 import THRESHOLD
from plait.models.quantize.qlinear import QuantizedLinear

__all__ = ["int8_activations", "llm_int8_activations"]

_LARGEST = 127


@contextmanager
def int8_activations(module: nn.Module) -> Iterator[None]:
    """While open, each `QuantizedLinear` sees its inputs rounded to INT8, one scale a token.

    The scale is max|x| / 127; the output matrix, if it is not quantised, sees them as they are.
    """
    with _seen_through(module, _rounded):
        yield


@contextmanager
def llm_int8_activations(module: nn.Module) -> Iterator[None]:
    """While open, each `QuantizedLinear` sees its inputs as LLM.int8() does.

    Columns with a value of 6 or more in this call stay in FP16; the rest is INT8, one scale a
    token from all values below 6 (small ones of outlier columns count, too). Outlier columns meet
    the INT8 weights, as in today's public code; the paper keeps those columns in FP16.
    """
    with _seen_through(module, _without_outliers):
        yield


@contextmanager
def _seen_through(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    def hook(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return change(arguments[0]), *arguments[1:]

    layers = [layer for layer in module.modules() if isinstance(layer, QuantizedLinear)]
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rounded(values: Tensor) -> Tensor:
    largest = values.abs().amax(dim=-1, keepdim=True).float()
    scale = (largest / _LARGEST).where(largest > 0, largest.new_ones(()))
    return ((values.float() / scale).round() * scale).to(values.dtype)


def _without_outliers(values: Tensor) -> Tensor:
    half = values.half().float()
    large = half.abs() >= THRESHOLD
    columns = large.reshape(-1, half.shape[-1]).any(dim=0)
    largest = half.abs().masked_fill(large, 0).amax(dim=-1, keepdim=True)
    factor = _LARGEST / largest.where(largest > 0, largest.new_ones(()))
    return (half * factor).round().div(factor).where(~columns, half).to(values.dtype)
