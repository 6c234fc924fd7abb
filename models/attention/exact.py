"""Plain causal attention, and what the variants share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["QUERY_CHUNK", "causal_attention", "for_query_heads", "masked_softmax", "places"]

QUERY_CHUNK = 256  # queries whose scores are held at once: bounds the memory


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(d)) v, each query seeing the keys up to its own place.

    >>> q, k, v = torch.ones(4, 2, 8), torch.ones(2, 3, 8), torch.ones(2, 3, 8)
    >>> tuple(causal_attention(q, k, v).shape)
    (4, 2, 8)
    """
    k, v = for_query_heads(q, k), for_query_heads(q, v)
    query, keys = places(q, k)
    out = []
    for start in range(0, len(query), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        end = int(query[rows][-1]) + 1
        scores = q[:, rows] @ k[:, :end].transpose(1, 2)
        out.append(masked_softmax(scores, keys[:end] <= query[rows, None], q) @ v[:, :end])
    return torch.cat(out, dim=1)


def for_query_heads(q: Tensor, kv: Tensor) -> Tensor:
    """Repeat the heads of keys or values, so that there is one for every query head."""
    return kv.repeat_interleave(q.shape[0] // kv.shape[0], dim=0)


def places(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the queries, which are the last of the keys, and of the keys."""
    keys = torch.arange(k.shape[1], device=k.device)
    return keys[k.shape[1] - q.shape[1] :], keys


def masked_softmax(scores: Tensor, seen: Tensor, q: Tensor) -> Tensor:
    """Softmax of scores / sqrt(d) over the keys that are seen (True)."""
    scaled = scores / math.sqrt(q.shape[-1])
    return scaled.masked_fill(~seen, -math.inf).softmax(dim=-1)
