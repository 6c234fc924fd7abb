"""LM-Infinite (arXiv 2308.16137): a Lambda-shaped mask and a limit on distances."""

from __future__ import annotations

import torch
from torch import Tensor

from plait.models.attention.exact import QUERY_CHUNK, for_query_heads, masked_softmax, places
from plait.models.llm.attention import rotate

__all__ = ["lambda_mask", "lm_infinite_attention", "rotary_frequencies", "rotate_at"]


def lambda_mask(query: int, keys: int, sinks: int, window: int) -> Tensor:
    """Which keys the last ``query`` of ``keys`` tokens see: booleans [query, keys].

    >>> lambda_mask(1, 6, sinks=1, window=2).int().tolist()
    [[1, 0, 0, 0, 1, 1]]
    """
    key = torch.arange(keys)
    place = key[keys - query :, None]
    near = place - key < window
    return (key <= place) & (near | (key < sinks))


def lm_infinite_attention(
    q: Tensor, k: Tensor, v: Tensor, frequencies: Tensor, *, sinks: int, window: int, limit: int
) -> Tensor:
    """Attend to the first ``sinks`` and the last ``window`` tokens.

    Inside the window scores are those of rotary attention. A sink outside it is scored as if it
    were ``limit`` tokens away (or as far as the oldest token, if that is nearer): the query is
    rotated to that place, the key is not rotated.

    Args:
        q, k: before the rotation.
        frequencies: angle a token, one a pair of channels; channel i turns with i + half.
        sinks, window: seen tokens.
        limit: distance of a far sink.
    """
    k, v = for_query_heads(q, k), for_query_heads(q, v)
    query, keys = places(q, k)
    seen = lambda_mask(len(query), len(keys), sinks, window)
    far = rotate_at(q, torch.full_like(query, min(limit, len(keys) - 1)), frequencies)
    near, turned = rotate_at(q, query, frequencies), rotate_at(k, keys, frequencies)
    out = []
    for start in range(0, len(query), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        scores = near[:, rows] @ turned.transpose(1, 2)
        stationary = far[:, rows] @ k[:, :sinks].transpose(1, 2)
        is_far = query[rows, None] - keys[:sinks] >= window
        scores[:, :, :sinks] = torch.where(is_far, stationary, scores[:, :, :sinks])
        out.append(masked_softmax(scores, seen[rows], q) @ v)
    return torch.cat(out, dim=1)


def rotary_frequencies(head_dim: int, theta: float = 10000.0) -> Tensor:
    """Angles a token of plain rotary positions: float64 [head_dim / 2].

    >>> rotary_frequencies(4).tolist()
    [1.0, 0.01]
    """
    pairs = torch.arange(0, head_dim, 2, dtype=torch.float64)
    return theta ** (-pairs / head_dim)


def rotate_at(heads: Tensor, place: Tensor, frequencies: Tensor) -> Tensor:
    """Rotate [heads, tokens, head_dim] to the places [tokens]; later channels stay."""
    angles = place[:, None].to(frequencies.dtype) * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    cos, sin = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    return rotate(heads[None], cos, sin, angles.shape[-1])[0]
