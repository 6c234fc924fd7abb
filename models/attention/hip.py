"""HiP attention (arXiv 2406.09827): a tree search for the keys that a block of queries needs.

The public kernels differ between releases; this is one definition of the idea. For the queries of
a block, the key blocks between sinks and window are cut into as many groups as will be kept. Every
group is halved, each half is scored by one block from its middle, and the best halves go on, until
all groups are single blocks. The query heads of a KV head search together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plait.models.attention.exact import masked_softmax

__all__ = ["HiPResult", "hip_attention"]


@dataclass(frozen=True, slots=True)
class HiPResult:
    """Attributes:
    output: [heads, query, head_dim].
    last_blocks: key blocks seen by the last block of queries, ascending [kv_heads, blocks].
    evaluations: key blocks scored in the search, by all blocks of queries and KV heads.
    pairs: (query, key) pairs seen, by all KV heads.
    """

    output: Tensor
    last_blocks: Tensor
    evaluations: int
    pairs: int


def hip_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    keep: int,
    sinks: int,
    window: int,
    query_block: int,
    key_block: int,
) -> HiPResult:
    """Attend to sinks, window and ``keep`` searched tokens of every block of queries.

    Args:
        q, k: after the rotation.
        keep, sinks, window: tokens, multiples of key_block; window is query_block or more.
        query_block, key_block: tokens of a block.
    """
    total, first = k.shape[1], k.shape[1] - q.shape[1]
    grouped = q.reshape(k.shape[0], -1, q.shape[1], q.shape[2])  # [kv_heads, group, query, d]
    outputs, evaluations, pairs = [], 0, 0
    blocks = torch.empty(k.shape[0], 0, dtype=torch.long)
    for start in range(first // query_block * query_block, total, query_block):
        begin, end = max(start, first), min(start + query_block, total)
        rows = grouped[:, :, begin - first : end - first]
        visible = -(-end // key_block)
        leading = min(sinks // key_block, visible)
        trailing = max(leading, visible - window // key_block)
        place = torch.arange(begin, end)
        kept, scored = _search(rows, k, place, leading, trailing, keep // key_block, key_block)
        fixed = [torch.arange(0, leading), torch.arange(trailing, visible)]
        every = [part.expand(k.shape[0], -1) for part in fixed]
        blocks = torch.cat((every[0], kept, every[1]), dim=1)
        mixed, seen = _attend(rows, k, v, place, blocks, key_block)
        outputs.append(mixed)
        evaluations += scored
        pairs += seen
    return HiPResult(torch.cat(outputs, dim=2).reshape(q.shape), blocks, evaluations, pairs)


def _search(
    rows: Tensor,
    k: Tensor,
    place: Tensor,
    leading: int,
    trailing: int,
    kept: int,
    key_block: int,
) -> tuple[Tensor, int]:
    """Key blocks that are kept, ascending [kv_heads, kept], and how many were scored."""
    heads, candidates = k.shape[0], trailing - leading
    if candidates <= kept:
        return torch.arange(leading, trailing).expand(heads, -1), 0
    edges = torch.arange(kept + 1) * candidates // kept
    low, high = (edge.expand(heads, -1).contiguous() for edge in (edges[:-1], edges[1:]))
    scored = 0
    while True:
        is_split = high - low > 1
        searching = is_split.any(dim=1)
        if not searching.any():
            return leading + low, scored
        middle = torch.where(is_split, (low + high) // 2, high)
        lows = torch.stack((low, middle), dim=2).flatten(1)  # branches in the order of their start
        highs = torch.stack((middle, high), dim=2).flatten(1)
        exists = torch.stack((torch.ones_like(is_split), is_split), dim=2).flatten(1)
        scored += int(exists[searching].sum())
        middles = leading + torch.clamp((lows + highs - 1) // 2, max=candidates - 1)
        scores = _block_scores(rows, k, place, middles, key_block)
        scores = scores.masked_fill(~exists, -torch.inf)
        best = torch.argsort(-scores, dim=1, stable=True)[:, :kept].sort(dim=1).values
        low, high = lows.gather(1, best), highs.gather(1, best)


def _block_scores(rows: Tensor, k: Tensor, place: Tensor, blocks: Tensor, key_block: int) -> Tensor:
    """Largest q . k of every block over the block of queries, [kv_heads, blocks]; unscaled."""
    key = _keys_of(blocks, key_block)
    scores = rows.flatten(1, 2) @ _gather(k, key).transpose(1, 2)
    seen = key[:, None, :] <= place.repeat(rows.shape[1])[None, :, None]
    best = scores.masked_fill(~seen, -torch.inf).amax(dim=1)
    return best.unflatten(1, (-1, key_block)).amax(dim=2)


def _attend(
    rows: Tensor, k: Tensor, v: Tensor, place: Tensor, blocks: Tensor, key_block: int
) -> tuple[Tensor, int]:
    """Softmax over the keys of the blocks up to each query's place."""
    key = _keys_of(blocks, key_block)
    seen = key[:, None, :] <= place[None, :, None]  # [kv_heads, query, keys]
    scores = rows.flatten(1, 2) @ _gather(k, key).transpose(1, 2)
    weights = masked_softmax(scores, seen.repeat(1, rows.shape[1], 1), rows)
    mixed = (weights @ _gather(v, key)).reshape(rows.shape)
    return mixed, int(seen.sum())


def _keys_of(blocks: Tensor, key_block: int) -> Tensor:
    return (blocks[:, :, None] * key_block + torch.arange(key_block)).flatten(1)


def _gather(kv: Tensor, key: Tensor) -> Tensor:
    """Rows of [kv_heads, tokens, d]; places after the end repeat the last, they are never seen."""
    inside = key.clamp(max=kv.shape[1] - 1)
    return kv.gather(1, inside[:, :, None].expand(-1, -1, kv.shape[2]))
