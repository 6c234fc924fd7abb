"""A whole LLM on the arithmetic of the bit-serial machine.

Takes a module whose linears are quantised; gives a copy whose quantised linears are computed by the
golden model, bit for bit as the hardware does. Everything else stays FP32 torch.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from plait.errors import FormatError
from plait.models.golden.bit_serial_linear import check_tensor, linear
from plait.models.quantize.qlinear import QuantizedGroupedLinear, QuantizedLinear

__all__ = ["HardwareLinear", "on_hardware"]

Activation = Literal["fp16", "int8"]


class HardwareLinear(nn.Module):
    """A quantised linear as the bit-serial array computes it.

    FP32 inputs become FP16, or INT8 with one absmax scale a token; results are FP32.
    """

    def __init__(self, layer: QuantizedLinear, activation: Activation, widths: dict[str, int]):
        super().__init__()
        self._tensor, self._bias = layer.tensor(), layer.bias
        self._activation, self._widths = activation, widths
        check_tensor(self._tensor, widths["lanes"], widths["scale_bits"])

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        rows = inputs.detach().reshape(-1, inputs.shape[-1]).float().numpy()
        if self._activation == "int8":
            scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
            scale = np.where(scale > 0, scale, np.float32(1))
            numbers = np.rint(rows / scale).astype(np.int8)
            outputs = linear(self._tensor, numbers, **self._widths) * scale
        else:
            with np.errstate(over="ignore"):  # what overflows is refused by name
                halves = rows.astype(np.float16)
            outputs = linear(self._tensor, halves, **self._widths)
        result = torch.from_numpy(outputs).reshape(*inputs.shape[:-1], -1)
        return result if self._bias is None else result + self._bias


def on_hardware(
    module: nn.Module,
    activation: Activation = "fp16",
    *,
    lanes: int = 4,
    guard_bits: int = 3,
    accumulator_bits: int = 15,
    output_accumulator_bits: int = 32,
    scale_bits: int = 8,
) -> nn.Module:
    """Give a copy (parameters shared) whose quantised linears use the machine's arithmetic."""
    widths = {
        "lanes": lanes,
        "guard_bits": guard_bits,
        "accumulator_bits": accumulator_bits,
        "output_accumulator_bits": output_accumulator_bits,
        "scale_bits": scale_bits,
    }
    replaced: dict[int, Any] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, QuantizedGroupedLinear):
            raise FormatError("stacked experts have no hardware", where=name)
        if isinstance(layer, QuantizedLinear):
            try:
                replaced[id(layer)] = HardwareLinear(layer, activation, widths)
            except FormatError as error:
                raise FormatError(str(error), where=name) from error
    if not replaced:
        raise FormatError(
            "no quantised linears",
            where=type(module).__name__,
            hint="plait.quantize(module, ..., scale_bits=8) first",
        )
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    tokenizer = getattr(module, "tokenizer", None)
    return copy.deepcopy(module, shared | replaced | {id(tokenizer): tokenizer})
