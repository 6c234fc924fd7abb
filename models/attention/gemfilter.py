"""GemFilter (arXiv 2409.17422): which tokens of a prompt an early layer would keep."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Selection", "select_tokens"]

_POOL = 5


@dataclass(frozen=True, slots=True)
class Selection:
    """Attributes:
    tokens: places that stay, ascending (keep).
    scores: sum over the query heads of q . k, neither scaled nor normalised (tokens).
    pooled: moving average of five scores; beyond the ends they count as 0 (tokens).
    """

    tokens: Tensor
    scores: Tensor
    pooled: Tensor


def select_tokens(query: Tensor, k: Tensor, keep: int) -> Selection:
    """Choose the tokens with the largest averaged scores; of equal ones the earlier.

    Nothing forces the last tokens of the prompt in.

    Args:
        query: of the prompt's last token, after the rotation, [heads, head_dim].
        k: rotated keys of the prompt [kv_heads, tokens, head_dim].
        keep: tokens that stay, at most all.
    """
    grouped = query.reshape(k.shape[0], -1, query.shape[-1]).sum(dim=1)  # the sum over its heads
    scores = torch.einsum("hd,htd->t", grouped, k)
    pooled = F.avg_pool1d(scores[None, None], _POOL, stride=1, padding=_POOL // 2)[0, 0]
    best = torch.argsort(-pooled, stable=True)[: min(keep, len(pooled))]
    return Selection(best.sort().values, scores, pooled)
