"""A module after rewrites: the same weights, other attention or feed-forward parts.

Takes a `Decoder` and rewrites, gives a module that shares the weights. What they do to values:
grouped-kv averages KV heads; kv-format rounds what the cache holds; lm-infinite, hip and
unified-max attend in their own way; gemfilter runs two passes; duo-llm keeps the strongest neurons
as the small part, for no trained one is published; flat-gemm changes nothing. moe has no values:
its weights would have to be trained.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from plait.errors import SpecError
from plait.models.attention import hip, kv, lm_infinite, unified_max
from plait.models.attention.exact import causal_attention
from plait.models.attention.gemfilter import select_tokens
from plait.models.graph.rewrites import (
    DuoLLM,
    FlatGEMM,
    GemFilter,
    GroupedKV,
    HiP,
    KVFormat,
    LMInfinite,
    Rewrite,
    UnifiedMax,
)
from plait.models.graph.rewrites.registry import parse_all
from plait.models.llm.attention import Attention
from plait.models.llm.decoder import Decoder, GatedFeedForward

__all__ = ["FilteredDecoder", "VariantAttention", "rewrite_module"]


def rewrite_module(
    module: nn.Module, rewrites: str | Rewrite | Iterable[str | Rewrite] | None
) -> nn.Module:
    """Give a module that computes what ``rewrites`` make of it; the weights are shared.

    Args:
        module: a `Decoder` with weights.
        rewrites: texts such as "lm-infinite:sinks=4,window=256", or Rewrite objects.
    """
    changes = parse_all(rewrites)
    if not isinstance(module, Decoder):
        raise SpecError(
            "not a decoder of this package",
            where="rewrites",
            got=type(module).__name__,
            expected="what plait.load_module gives",
        )
    weights = [*module.parameters(), *module.buffers()]
    shared = copy.deepcopy(module, {id(tensor): tensor for tensor in weights})
    attention = [change for change in changes if isinstance(change, _IN_ATTENTION)]
    if sum(isinstance(change, _MASKS) for change in attention) > 1:
        names = ", ".join(change.name for change in attention)
        raise SpecError("only one way to attend at a time", where="rewrites", got=names)
    if attention:
        frequencies = getattr(shared, "rope_frequencies", None)
        for layer in shared.layers:
            layer.self_attn = VariantAttention(_plain(layer), attention, frequencies)
    whole: nn.Module = shared
    for change in changes:
        if isinstance(change, DuoLLM):
            _shrink(shared, change)
        elif isinstance(change, GemFilter):
            whole = FilteredDecoder(shared, change)
        elif not isinstance(change, (*_IN_ATTENTION, FlatGEMM)):
            raise SpecError(
                "has no values: its weights must be trained", where=f"rewrite {change.name}"
            )
    return whole


_IN_ATTENTION = (GroupedKV, HiP, KVFormat, LMInfinite, UnifiedMax)
_MASKS = (HiP, LMInfinite, UnifiedMax)


class VariantAttention(nn.Module):
    """Attention of one layer after rewrites. Keys stay un-rotated until they are read.

    Attributes:
        rows, recomputed: rows that unified-max attended for, and those computed again.
        lowest, highest: of all its scores, scaled by 1/sqrt(head_dim).
    """

    def __init__(
        self, base: Attention, changes: Sequence[Rewrite], frequencies: Tensor | None
    ) -> None:
        super().__init__()
        self.base, self.changes, self.frequencies = base, tuple(changes), frequencies
        self.rows = self.recomputed = 0.0
        self.lowest, self.highest = float("inf"), float("-inf")

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        earlier: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `Attention.forward`, but keys in and out are not rotated; the mask is causal."""
        q, k, v = self.project(hidden)
        if earlier is not None:
            k, v = torch.cat((earlier[0], k), dim=2), torch.cat((earlier[1], v), dim=2)
        mixed = torch.stack([self.attend(*one) for one in zip(q, k, v, strict=True)])
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.base.o_proj(mixed), k, v

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values before the rotation, (batch, heads, query, head_dim)."""
        base = self.base
        q, k, v = (
            projection(hidden).unflatten(-1, (-1, base.head_dim))
            for projection in (base.q_proj, base.k_proj, base.v_proj)
        )
        if base.qk_norm:
            q, k = base.q_norm(q), base.k_norm(k)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One sequence, [heads, tokens, head_dim] each; q are the last tokens of k."""
        masks = [change for change in self.changes if isinstance(change, _MASKS)]
        for change in self.changes:
            if isinstance(change, GroupedKV):
                k, v = (kv.average_heads(part, change.kv_heads) for part in (k, v))
        rounded = [change for change in self.changes if isinstance(change, KVFormat)]
        if masks and isinstance(masks[0], LMInfinite):
            return self._lambda(masks[0], rounded, q, k, v)
        keys = torch.arange(k.shape[1])
        q, k = self._rotated(q, keys[-q.shape[1] :]), self._rotated(k, keys)
        for one in rounded:
            k, v = (kv.round_kv(part, one.format) for part in (k, v))
        if masks and isinstance(masks[0], HiP):
            return hip.hip_attention(q, k, v, **_sizes(masks[0])).output
        if masks:
            return self._unified(masks[0], q, k, v)
        return causal_attention(q, k, v)

    def _rotated(self, heads: Tensor, place: Tensor) -> Tensor:
        if self.frequencies is None:
            return heads
        return lm_infinite.rotate_at(heads, place, self.frequencies)

    def _lambda(
        self, change: LMInfinite, rounded: Sequence[KVFormat], q: Tensor, k: Tensor, v: Tensor
    ) -> Tensor:
        """The cache holds un-rotated keys here, so these are what is rounded."""
        frequencies = self.frequencies
        if frequencies is None:
            raise SpecError("needs rotary positions", where=f"rewrite {change.name}")
        for one in rounded:
            k, v = (kv.round_kv(part, one.format) for part in (k, v))
        return lm_infinite.lm_infinite_attention(
            q, k, v, frequencies, sinks=change.sinks, window=change.window, limit=change.limit
        )

    def _unified(self, change: UnifiedMax, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        found = unified_max.unified_max_attention(
            q, k, v, phi=change.phi, low=change.low, high=change.high
        )
        rows = q.shape[0] * q.shape[1]
        self.rows += rows
        self.recomputed += rows * found.recomputed
        self.lowest = min(self.lowest, found.lowest)
        self.highest = max(self.highest, found.highest)
        return found.output


class FilteredDecoder(nn.Module):
    """GemFilter around a decoder: a prompt longer than ``keep`` is shortened before it is run.

    Attributes:
        selected: places of the last prompt that stayed.
    """

    def __init__(self, base: Decoder, change: GemFilter) -> None:
        super().__init__()
        if change.layer >= len(base.layers):
            raise SpecError(
                "no such layer",
                where=f"rewrite {change.name}: layer",
                got=change.layer,
                expected=f"0 to {len(base.layers) - 1}",
            )
        self.base, self.change = base, change
        self.shape, self.tokenizer = base.shape, base.tokenizer
        self.weights_note = base.weights_note
        self.selected = torch.empty(0, dtype=torch.long)

    def forward(
        self,
        tokens: Tensor,
        past_keys: Sequence[Tensor] | Tensor | None = None,
        past_values: Sequence[Tensor] | Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """As `Decoder.forward`; logits of a shortened prompt are those of the kept tokens."""
        if past_keys is None and tokens.shape[1] > self.change.keep:
            if tokens.shape[0] != 1:
                raise SpecError("chooses for one prompt at a time", where="rewrite gemfilter")
            self.selected = self._select(tokens)
            tokens = tokens[:, self.selected]
        result: tuple[Tensor, list[Tensor], list[Tensor]] = self.base(
            tokens, past_keys, past_values
        )
        return result

    def _select(self, tokens: Tensor) -> Tensor:
        """Run the early layers, and score with the rotated q and k of the last of them."""
        base = self.base
        hidden = base.embed_tokens(tokens) * base.shape.embedding_scale
        place = torch.arange(tokens.shape[1])
        angles = place[:, None].to(hidden.dtype) * base.rope_frequencies
        angles = torch.cat((angles, angles), dim=-1)
        rotation = angles.cos(), angles.sin()
        for layer in base.layers[: self.change.layer]:
            hidden, _, _ = layer(hidden, rotation, None, None)
        chooser = base.layers[self.change.layer]
        probe = chooser.self_attn
        if not isinstance(probe, VariantAttention):
            probe = VariantAttention(probe, (), base.rope_frequencies)
        q, k, _ = probe.project(chooser.input_layernorm(hidden))
        last = lm_infinite.rotate_at(q[0, :, -1:], place[-1:], base.rope_frequencies)[:, 0]
        keys = lm_infinite.rotate_at(k[0], place, base.rope_frequencies)
        return select_tokens(last, keys, self.change.keep).tokens


class _Skipped(nn.Module):
    """A feed-forward part that adds nothing."""

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.zeros_like(hidden)


class _SkippedAttention(nn.Module):
    """Attention that adds nothing; its place in the cache is filled with zeros."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, hidden: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        attended, k, v = self.base(hidden, *rest)
        return torch.zeros_like(attended), torch.zeros_like(k), torch.zeros_like(v)


def _shrink(module: Decoder, change: DuoLLM) -> None:
    """Route the layers; a small part is the neurons of the big one with the largest weights."""
    if len(change.route) != len(module.layers):
        raise SpecError(
            "not a letter a layer",
            where=f"rewrite {change.name}: route",
            got=f"{len(change.route)} letters",
            expected=f"{len(module.layers)}; a choice by token needs a trained router",
        )
    for letter, layer in zip(change.route, module.layers, strict=True):
        if letter == "x":
            layer.mlp = _Skipped()
            if change.skip == "layer":
                layer.self_attn = _SkippedAttention(cast(nn.Module, layer.self_attn))
        elif letter == "s":
            layer.mlp = _strongest(cast(nn.Module, layer.mlp), change.small)


def _strongest(mlp: nn.Module, width: int) -> nn.Module:
    """Keep the ``width`` neurons with the largest product of norms of their three vectors."""
    if not isinstance(mlp, GatedFeedForward):
        raise SpecError("needs a gated feed-forward part", where="rewrite duo-llm")
    gate, up, down = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
    strength = gate.norm(dim=1) * up.norm(dim=1) * down.norm(dim=0)
    kept = strength.topk(min(width, len(strength))).indices.sort().values
    small = copy.copy(mlp)
    small._modules = dict(mlp._modules)
    for name, weight in (
        ("gate_proj", gate[kept]),
        ("up_proj", up[kept]),
        ("down_proj", down[:, kept]),
    ):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight, requires_grad=False)
        setattr(small, name, linear)
    return small


def _plain(layer: nn.Module) -> Attention:
    """The layer's own attention; a rewritten module is not rewritten again."""
    found = layer.self_attn
    if not isinstance(found, Attention):
        raise SpecError(
            "is rewritten already", where="rewrites", expected="all rewrites in one list"
        )
    return found


def _sizes(change: HiP) -> dict[str, int]:
    return {field.name: getattr(change, field.name) for field in dataclasses.fields(change)}
