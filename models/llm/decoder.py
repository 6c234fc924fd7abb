"""A plain PyTorch decoder with explicit keys and values, built from an `LLMShape`.

Takes tokens and the keys and values of earlier tokens; gives logits and all keys and values. It
keeps no state and branches on no data, so `torch.export` takes it with symbolic batch, query and
past, on the meta device too. Module names follow Hugging Face's Llama for every family:
`layers.N.self_attn.{q,k,v,o}_proj`, `layers.N.mlp.{gate,up,down}_proj` (gated) or
`layers.N.mlp.{fc1,fc2}`, and for a mixture `layers.N.mlp.gate` (the router) with
`layers.N.mlp.experts.{gate,up,down}_proj`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.models.llm.attention import Attention
from plait.models.llm.config import LLMShape, load_shape
from plait.models.llm.experts import Experts

__all__ = ["Decoder", "build_decoder", "rope_frequencies"]


class Decoder(nn.Module):
    """Decoder LLM: embedding, layers, norm, output matrix.

    >>> tiny = load_shape("smollm2-135m").with_(layers=1, vocab=8)
    >>> logits, keys, values = Decoder(tiny)(torch.tensor([[1, 2, 3]]))
    >>> tuple(logits.shape), tuple(keys[0].shape)
    ((1, 3, 8), (1, 3, 3, 64))
    """

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.shape = shape
        self.tokenizer: Any = None
        """A `transformers` tokenizer, if the weights came with one."""
        self.weights_note = ""
        """How the weights were stored, if not plainly; goes beside every accuracy figure."""
        self.embed_tokens = _embedding(shape.vocab, shape.hidden)
        if shape.position == "learned":
            self.embed_positions = _embedding(shape.max_positions, shape.hidden)
        else:
            self.rope_frequencies: Tensor
            frequencies = rope_frequencies(shape).to(torch.get_default_device())
            self.register_buffer("rope_frequencies", frequencies)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.norm = _norm(shape, shape.hidden)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab, bias=shape.head_bias)
        if shape.tied:
            self.lm_head.weight = self.embed_tokens.weight

    def forward(
        self,
        tokens: Tensor,
        past_keys: Sequence[Tensor] | Tensor | None = None,
        past_values: Sequence[Tensor] | Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Run ``query`` new tokens after ``past`` earlier ones.

        Args:
            tokens: (batch, query) integers.
            past_keys, past_values: one tensor a layer, (batch, kv_heads, past, head_dim), in a
                list or stacked; none means past = 0.

        Returns:
            Logits (batch, query, vocab), and the keys and values of past and new tokens, one
            tensor a layer, (batch, kv_heads, past + query, head_dim).
        """
        query = tokens.shape[1]
        past = 0 if past_keys is None else past_keys[0].shape[2]
        positions = torch.arange(past, past + query, device=tokens.device)
        hidden = self.embed_tokens(tokens)
        if self.shape.embedding_scale != 1:
            hidden = hidden * self.shape.embedding_scale
        rotation = None
        if self.shape.position == "learned":
            hidden = hidden + self.embed_positions(positions)
        else:
            angles = positions[:, None].to(hidden.dtype) * self.rope_frequencies
            angles = torch.cat((angles, angles), dim=-1)  # (query, rotary_dim)
            rotation = angles.cos(), angles.sin()
        mask = None  # the causal mask of a run without past needs no tensor
        if past_keys is not None:
            every = torch.arange(past + query, device=tokens.device)
            mask = every <= positions[:, None]  # (query, context); True is attended to
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            earlier = None
            if past_keys is not None and past_values is not None:
                earlier = past_keys[index], past_values[index]
            hidden, key, value = layer(hidden, rotation, mask, earlier)
            keys.append(key)
            values.append(value)
        return self.lm_head(self.norm(hidden)), keys, values

    def example_inputs(self, batch: int, query: int, past: int) -> tuple[Tensor, ...]:
        """Arguments of `forward` for tracing, on the module's own device; caches are stacked."""
        weight = self.embed_tokens.weight
        tokens = torch.zeros(batch, query, dtype=torch.long, device=weight.device)
        if not past:
            return (tokens,)
        size = len(self.layers), batch, self.shape.kv_heads, past, self.shape.head_dim
        return tokens, weight.new_zeros(size), weight.new_zeros(size)


class DecoderLayer(nn.Module):
    """Attention and feed-forward part, each after a norm and added to the residual stream."""

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.parallel = shape.parallel
        self.input_layernorm = _norm(shape, shape.hidden)
        self.self_attn = Attention(shape)
        if not shape.parallel:
            self.post_attention_layernorm = _norm(shape, shape.hidden)
        self.mlp = _feed_forward(shape)

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, query, hidden) to the same shape, and the layer's keys and values."""
        normed = self.input_layernorm(hidden)
        attended, key, value = self.self_attn(normed, rotation, mask, earlier)
        if self.parallel:
            return hidden + attended + self.mlp(normed), key, value
        hidden = hidden + attended
        return hidden + self.mlp(self.post_attention_layernorm(hidden)), key, value


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) * up(x))."""

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.ffn, bias=shape.ffn_bias)
        self.up_proj = nn.Linear(shape.hidden, shape.ffn, bias=shape.ffn_bias)
        self.down_proj = nn.Linear(shape.ffn, shape.hidden, bias=shape.ffn_bias)
        self.activation = activation(shape.activation)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, query, hidden) to the same shape."""
        return self.down_proj(self.activation(self.gate_proj(hidden)) * self.up_proj(hidden))


class FeedForward(nn.Module):
    """fc2(activation(fc1(x)))."""

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.hidden, shape.ffn, bias=shape.ffn_bias)
        self.fc2 = nn.Linear(shape.ffn, shape.hidden, bias=shape.ffn_bias)
        self.activation = activation(shape.activation)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, query, hidden) to the same shape."""
        return self.fc2(self.activation(self.fc1(hidden)))


class SparseFeedForward(nn.Module):
    """Mixture of experts: a router picks `experts_active` experts a token (Mixtral, Qwen 3)."""

    def __init__(self, shape: LLMShape) -> None:
        super().__init__()
        self.active, self.renormalise = shape.experts_active, shape.experts_renormalise
        self.gate = nn.Linear(shape.hidden, shape.experts, bias=False)
        self.experts = Experts(shape, activation(shape.activation))

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, query, hidden) to the same shape."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        weights, chosen = torch.topk(F.softmax(self.gate(flat), dim=-1), self.active, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return self.experts(flat, weights, chosen).reshape(hidden.shape)


def build_decoder(shape: LLMShape | str, device: str = "meta") -> Decoder:
    """Build the decoder of a shape; on the meta device it has sizes and no weights.

    >>> build_decoder("llama-2-7b").layers[0].mlp.gate_proj
    Linear(in_features=4096, out_features=11008, bias=False)
    """
    with torch.device(device):
        return Decoder(load_shape(shape)).eval()


def rope_frequencies(shape: LLMShape) -> Tensor:
    """Angle a token, one a pair of channels: float32 (rotary_dim / 2), on the CPU.

    With `rope_factor` the low frequencies are stretched as in Llama 3.1: those that turn less than
    `low` times in the original context are divided by the factor, those that turn more than `high`
    times are kept, with a blend between (`_compute_llama3_parameters` of transformers).
    """
    # the same on the meta device costs seconds of imports
    pairs = torch.arange(0, shape.rotary_dim, 2, dtype=torch.float32, device="cpu")
    frequencies = 1.0 / (shape.rope_theta ** (pairs / shape.rotary_dim))
    if shape.rope_factor == 1:
        return frequencies
    low, high = shape.rope_low_frequency, shape.rope_high_frequency
    turns = shape.rope_original_positions * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / shape.rope_factor)


def activation(name: str) -> nn.Module:
    """Module of an activation named as in `LLMShape`."""
    return {
        "silu": nn.SiLU(),
        "gelu": nn.GELU(),
        "gelu_tanh": nn.GELU(approximate="tanh"),
        "relu": nn.ReLU(),
    }[name]


def _embedding(rows: int, width: int) -> nn.Embedding:
    """Like `nn.Embedding`, whose normal values cost two seconds of imports on the meta device."""
    values = torch.empty(rows, width).uniform_(-(width**-0.5), width**-0.5)
    return nn.Embedding.from_pretrained(values, freeze=False)


def _norm(shape: LLMShape, width: int) -> nn.Module:
    kind = nn.RMSNorm if shape.norm == "rms_norm" else nn.LayerNorm
    return kind(width, eps=shape.norm_eps)


def _feed_forward(shape: LLMShape) -> nn.Module:
    if shape.experts:
        return SparseFeedForward(shape)
    return GatedFeedForward(shape) if shape.gated else FeedForward(shape)
