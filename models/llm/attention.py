"""Grouped-query attention of the plain decoder, with rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.models.llm.config import LLMShape

__all__ = ["Attention", "rotate"]


class Attention(nn.Module):
    """Causal attention over earlier and new tokens; each KV head serves heads / kv_heads heads."""

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.rotary_dim = shape.rotary_dim
        self.q_proj = nn.Linear(shape.hidden, shape.query_width, bias=shape.qkv_bias)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_width, bias=shape.qkv_bias)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_width, bias=shape.qkv_bias)
        self.o_proj = nn.Linear(shape.query_width, shape.hidden, bias=shape.output_bias)
        self.qk_norm = shape.qk_norm
        if shape.qk_norm:
            self.q_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_eps)
            self.k_norm = nn.RMSNorm(shape.head_dim, eps=shape.norm_eps)

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            hidden: (batch, query, hidden).
            rotation: cosines and sines, each (query, rotary_dim); none for learned positions.
            mask: (query, context) booleans, True is attended to; none means causal without past.
            earlier: keys and values (batch, kv_heads, past, head_dim).

        Returns:
            (batch, query, hidden), and keys and values with the new tokens at the end.
        """
        batch, query = hidden.shape[:2]
        q = self.q_proj(hidden).view(batch, query, self.heads, self.head_dim)
        k = self.k_proj(hidden).view(batch, query, self.kv_heads, self.head_dim)
        v = self.v_proj(hidden).view(batch, query, self.kv_heads, self.head_dim).transpose(1, 2)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q.transpose(1, 2), k.transpose(1, 2)
        if rotation is not None:
            q, k = (rotate(heads, *rotation, self.rotary_dim) for heads in (q, k))
        if earlier is not None:
            k, v = torch.cat((earlier[0], k), dim=2), torch.cat((earlier[1], v), dim=2)
        mixed = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
        )
        mixed = mixed.transpose(1, 2).reshape(batch, query, self.heads * self.head_dim)
        return self.o_proj(mixed), k, v


def rotate(heads: Tensor, cos: Tensor, sin: Tensor, rotary_dim: int) -> Tensor:
    """Rotate the first ``rotary_dim`` channels of (batch, heads, query, head_dim).

    Channel i turns with channel i + rotary_dim / 2, Hugging Face's order.
    """
    if rotary_dim < heads.shape[-1]:
        turned, rest = heads[..., :rotary_dim], heads[..., rotary_dim:]
        return torch.cat((rotate(turned, cos, sin, rotary_dim), rest), dim=-1)
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-second, first), dim=-1) * sin
