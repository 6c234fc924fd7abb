"""FlashDecoding++ (arXiv 2311.01282): softmax with one constant, recomputed where that fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from plait.models.attention.exact import QUERY_CHUNK, for_query_heads, places

__all__ = ["UnifiedMaxResult", "UnifiedMaxRow", "unified_max_attention", "unified_max_sum"]


@dataclass(frozen=True, slots=True)
class UnifiedMaxRow:
    """Attributes:
    output: weighted values [head_dim].
    denominator: sum of exp(score - reference), the reference being phi or the row's maximum.
    recomputed: whether a score was out of the bounds.
    """

    output: Tensor
    denominator: Tensor
    recomputed: bool


def unified_max_sum(
    scores: Tensor, values: Tensor, *, phi: float, low: float, high: float, parts: int
) -> UnifiedMaxRow:
    """Softmax of one row in independent parts, whose sums simply add.

    Args:
        scores: [keys].
        values: [keys, head_dim].
        phi: subtracted from every score.
        low, high: bounds of score - phi, exclusive; the first violation recomputes the whole row.
        parts: part c has keys [c n // parts, (c + 1) n // parts).
    """
    count = len(scores)
    numerator, denominator = torch.zeros_like(values[0]), torch.zeros_like(scores[0])
    for part in range(parts):
        rows = slice(part * count // parts, (part + 1) * count // parts)
        shifted = scores[rows] - phi
        if bool(((shifted <= low) | (shifted >= high)).any()):
            weights = (scores - scores.max()).exp()
            return UnifiedMaxRow(weights @ values / weights.sum(), weights.sum(), True)
        numerator = numerator + shifted.exp() @ values[rows]
        denominator = denominator + shifted.exp().sum()
    return UnifiedMaxRow(numerator / denominator, denominator, False)


@dataclass(frozen=True, slots=True)
class UnifiedMaxResult:
    """Attributes:
    output: [heads, query, head_dim].
    recomputed: share of the rows (a query of a head) with a score out of the bounds.
    lowest, highest: of all scores seen.
    """

    output: Tensor
    recomputed: float
    lowest: float
    highest: float


def unified_max_attention(
    q: Tensor, k: Tensor, v: Tensor, *, phi: float, low: float, high: float
) -> UnifiedMaxResult:
    """Causal attention whose rows use exp(score - phi), or their maximum where that fails."""
    k, v = for_query_heads(q, k), for_query_heads(q, v)
    query, keys = places(q, k)
    out, failed, lowest, highest = [], 0, math.inf, -math.inf
    for start in range(0, len(query), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        scores = q[:, rows] @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        seen = keys <= query[rows, None]
        bottom = scores.masked_fill(~seen, math.inf).amin(dim=-1, keepdim=True)
        top = scores.masked_fill(~seen, -math.inf).amax(dim=-1, keepdim=True)
        fails = (bottom - phi <= low) | (top - phi >= high)
        shifted = scores - torch.where(fails, top, torch.full_like(top, phi))
        weights = shifted.masked_fill(~seen, -math.inf).exp()
        out.append(weights @ v / weights.sum(dim=-1, keepdim=True))
        failed += int(fails.sum())
        lowest, highest = min(lowest, bottom.min().item()), max(highest, top.max().item())
    rows_in_all = q.shape[0] * q.shape[1]
    return UnifiedMaxResult(torch.cat(out, dim=1), failed / rows_in_all, lowest, highest)
