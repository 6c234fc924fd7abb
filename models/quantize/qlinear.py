"""`QuantizedLinear`: a linear layer over packed codes and one custom op, `plait::qlinear`.

Takes a `QuantizedTensor`; gives a torch module that survives `torch.export`, saving and loading.
The op's arguments carry format, group size and true bits a weight into the exported graph. What it
computes is `inputs @ dequantised.T + bias` in the precision of the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from plait.errors import FormatError
from plait.models import formats
from plait.models.quantize.storage import Header, assemble, header_of, stored_parts
from plait.models.quantize.tensor import QuantizedTensor

__all__ = ["DENSE_CACHE_BYTES", "QuantizedGroupedLinear", "QuantizedLinear"]

DENSE_CACHE_BYTES = 1 << 30
"""Dequantised matrices kept for the next call, over all modules; the oldest used goes first."""

_SEPARATOR = " "  # between the names of the parts; it is in no name
_HEADER_KEY = "_extra_state"  # torch's own name for what a module adds to its state


class _QuantizedMatrix(nn.Module):
    """The stored parts of a `QuantizedTensor` as buffers."""

    def __init__(self, tensor: QuantizedTensor) -> None:
        super().__init__()
        self._header = header_of(tensor)
        self.bits_per_weight = tensor.bits_per_weight
        self.notes = tensor.notes
        parts = stored_parts(tensor)
        self._names = list(parts)
        for name, array in parts.items():
            writable = np.require(array, requirements=["C", "W"])
            self.register_buffer(_buffer(name), torch.from_numpy(writable))

    @property
    def format(self) -> str:
        """Name of the number format."""
        return self._header["format"]

    @property
    def group_size(self) -> int:
        """Weights of a row that share a scale."""
        return self._header["group_size"]

    @property
    def out_features(self) -> int:
        """Rows of the matrix; of all experts together."""
        return self._header["shape"][0]

    @property
    def in_features(self) -> int:
        """Columns of the matrix."""
        return self._header["shape"][1]

    def tensor(self) -> QuantizedTensor:
        """The matrix as a `QuantizedTensor`."""
        return _assembled(self._parts(), *self._description())

    def _parts(self) -> list[Tensor]:
        return [self.get_buffer(_buffer(name)) for name in self._names]

    def _description(self) -> tuple[str, str, int, int, int, bool]:
        outputs, inputs = self._header["shape"]
        names = _SEPARATOR.join(self._names)
        return names, self.format, outputs, inputs, self.group_size, self._header["per_tensor"]

    def get_extra_state(self) -> Tensor:
        """The header as bytes: weights of one format must not be loaded as another's."""
        return torch.tensor(list(repr(self._description()).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse a state of another format or shape."""
        if not torch.equal(state.cpu(), self.get_extra_state()):
            raise FormatError(
                "weights quantised in another way",
                got=bytes(state.tolist()).decode(errors="replace"),
                expected=repr(self._description()),
            )

    def extra_repr(self) -> str:
        """What `print(module)` shows."""
        outputs, inputs = self._header["shape"]
        return (
            f"in_features={inputs}, out_features={outputs}, format={self.format}, "
            f"group_size={self.group_size}, bits_per_weight={self.bits_per_weight:.4g}"
        )


class QuantizedLinear(_QuantizedMatrix):
    """A linear layer with quantised weights; its bias stays as it is.

    >>> from plait.models.quantize import quantize
    >>> layer = QuantizedLinear(quantize(np.eye(4, dtype=np.float32), "int4", group_size=4))
    >>> layer(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[1., 2., 3., 4.]])
    """

    def __init__(self, tensor: QuantizedTensor, bias: Tensor | None = None) -> None:
        super().__init__(tensor)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return qlinear(inputs, self.bias, self._parts(), *self._description(), self.bits_per_weight)


class QuantizedGroupedLinear(_QuantizedMatrix):
    """The stacked matrices of a mixture's experts, quantised as one matrix of all their rows."""

    def __init__(self, tensor: QuantizedTensor, experts: int) -> None:
        super().__init__(tensor)
        self.experts = experts

    def forward(self, inputs: Tensor, chosen: Tensor) -> Tensor:
        """(rows, active, cin) and the experts (rows, active) to (rows, active, cout)."""
        parts, description = self._parts(), self._description()
        return qgrouped_linear(
            inputs, chosen, parts, *description, self.bits_per_weight, self.experts
        )


@torch.library.custom_op("plait::qlinear", mutates_args=())
def qlinear(
    inputs: Tensor,
    bias: Tensor | None,
    parts: Sequence[Tensor],
    names: str,
    format: str,
    cout: int,
    cin: int,
    group_size: int,
    per_tensor: bool,
    bits_per_weight: float,
) -> Tensor:
    """Multiply with a quantised matrix.

    Args:
        inputs: (..., cin).
        bias: (cout) or none.
        parts: the arrays of `stored_parts`: packed codes, scales, selectors, zeros, ...
        names: their names, separated by spaces.
        format, cout, cin, group_size, per_tensor: the rest of the `QuantizedTensor`.
        bits_per_weight: true storage; computes nothing, the graph reads it.

    Returns:
        (..., cout).
    """
    weight = _dense(parts, names, format, cout, cin, group_size, per_tensor)
    return F.linear(inputs, weight.to(inputs.dtype), bias)


@qlinear.register_fake
def _(inputs, bias, parts, names, format, cout, *_):
    return inputs.new_empty(*inputs.shape[:-1], cout)


@torch.library.custom_op("plait::qgrouped_linear", mutates_args=())
def qgrouped_linear(
    inputs: Tensor,
    chosen: Tensor,
    parts: Sequence[Tensor],
    names: str,
    format: str,
    cout: int,
    cin: int,
    group_size: int,
    per_tensor: bool,
    bits_per_weight: float,
    experts: int,
) -> Tensor:
    """Multiply each row with the quantised matrix of its expert.

    Args:
        inputs: (rows, active, cin).
        chosen: (rows, active) integers below ``experts``.
        cout: rows of all experts' matrices together; the rest as in `qlinear`.

    Returns:
        (rows, active, cout / experts).
    """
    from plait.models.llm.experts import grouped_linear

    weight = _dense(parts, names, format, cout, cin, group_size, per_tensor)
    return grouped_linear(inputs, chosen, weight.to(inputs.dtype).view(experts, -1, cin))


@qgrouped_linear.register_fake
def _(inputs, chosen, parts, names, format, cout, *rest):
    return inputs.new_empty(*chosen.shape, cout // rest[-1])


class _DenseCache:
    """Dequantised matrices by their packed codes, forgotten with them and beyond a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._kept: Any = WeakTensorKeyDictionary()

    def get(self, parts: Sequence[Tensor]) -> Tensor | None:
        """The matrix of these very parts, unless one of them was written to since."""
        state, weight = self._kept.pop(parts[0], (None, None))
        if weight is None or not _same(state, parts):
            return None
        self._kept[parts[0]] = state, weight  # at the end: the last to go
        return weight

    def keep(self, parts: Sequence[Tensor], weight: Tensor) -> None:
        if weight.nbytes > self.limit_bytes:
            return
        used = weight.nbytes + sum(kept.nbytes for _, kept in self._kept.values())
        for codes, (_, oldest) in list(self._kept.items()):
            if used <= self.limit_bytes:
                break
            del self._kept[codes]
            used -= oldest.nbytes
        state = _version(parts[0]), [(part, _version(part)) for part in parts[1:]]
        self._kept[parts[0]] = state, weight


_cache = _DenseCache(DENSE_CACHE_BYTES)


def _version(tensor: Tensor) -> int:
    """Counts in-place changes; tensors made in inference mode do not count them."""
    return 0 if tensor.is_inference() else tensor._version


def _same(state: Any, parts: Sequence[Tensor]) -> bool:
    codes_version, others = state
    return codes_version == _version(parts[0]) and all(
        kept is part and version == _version(part)
        for (kept, version), part in zip(others, parts[1:], strict=True)
    )


def _dense(parts: Sequence[Tensor], *description: Any) -> Tensor:
    """The dequantised matrix, float32 (cout, cin)."""
    weight = _cache.get(parts)
    if weight is None:
        weight = torch.from_numpy(_assembled(parts, *description).dequantize())
        _cache.keep(parts, weight)
    return weight


def _assembled(
    parts: Sequence[Tensor],
    names: str,
    format: str,
    cout: int,
    cin: int,
    group_size: int,
    per_tensor: bool,
) -> QuantizedTensor:
    header = Header(formats.get(format), cout, cin, group_size, per_tensor)
    arrays = (part.detach().cpu().numpy() for part in parts)
    return assemble(header, dict(zip(names.split(_SEPARATOR), arrays, strict=True)))


def _buffer(name: str) -> str:
    return name.replace(".", "_")  # a buffer's name has no dots
