"""What the face says of a quantised module: its quantised layers and their bits a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from plait.models.quantize.qlinear import QuantizedGroupedLinear, QuantizedLinear

__all__ = ["bits_per_weight", "quantised_layers"]


def quantised_layers(module: nn.Module) -> dict[str, QuantizedLinear | QuantizedGroupedLinear]:
    """The layers whose weights are quantised, by name."""
    from plait.models.quantize.qlinear import QuantizedGroupedLinear, QuantizedLinear

    kinds = (QuantizedLinear, QuantizedGroupedLinear)
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, kinds)}


def bits_per_weight(module: nn.Module) -> float:
    """Stored bits a weight over all quantised layers; FP32 has none and is 32."""
    layers = quantised_layers(module).values()
    weights = sum(layer.out_features * layer.in_features for layer in layers)
    if not weights:
        return 32.0
    bits = sum(layer.bits_per_weight * layer.out_features * layer.in_features for layer in layers)
    return float(bits / weights)
