"""INT8 activations: what a machine with integer operands does to the inputs of its linears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from plait.models.quantize.qlinear import QuantizedLinear

__all__ = ["int8_activations"]

_LARGEST = 127


@contextmanager
def int8_activations(module: nn.Module) -> Iterator[None]:
    """While open, each `QuantizedLinear` sees its inputs rounded to INT8, one scale a token.

    The scale is max|x| / 127; the output matrix, if it is not quantised, sees them as they are.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, QuantizedLinear)]
    handles = [layer.register_forward_pre_hook(_rounded) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rounded(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    values: Tensor = arguments[0]
    largest = values.abs().amax(dim=-1, keepdim=True).float()
    scale = (largest / _LARGEST).where(largest > 0, largest.new_ones(()))
    return (((values.float() / scale).round() * scale).to(values.dtype), *arguments[1:])
