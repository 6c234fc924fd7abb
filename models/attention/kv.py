"""Keys and values as a cache keeps them: rounded to a format, averaged over heads."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["average_heads", "round_kv"]


def round_kv(kv: Tensor, format: str) -> Tensor:
    """Round [kv_heads, tokens, head_dim] to a format with a scale a token and head.

    Formats that fix a group size (mxfp4, nvfp4) keep it.

    >>> ones = torch.ones(1, 2, 64)
    >>> bool((round_kv(ones, "int8") == ones).all())
    True
    """
    from plait.models.formats import get
    from plait.models.quantize.granularity import PerChannel, PerGroup
    from plait.models.quantize.rtn import quantize_array

    size = get(format).group_size
    granularity = PerGroup(size) if size else PerChannel()
    rows = kv.reshape(-1, kv.shape[-1]).numpy()
    rounded = torch.from_numpy(quantize_array(rows, get(format), granularity).dequantize())
    return rounded.reshape(kv.shape).to(kv.dtype)


def average_heads(kv: Tensor, heads: int) -> Tensor:
    """Average neighbouring KV heads [kv_heads, tokens, head_dim] to ``heads``, as GQA starts."""
    return kv.unflatten(0, (heads, -1)).mean(dim=1)
