"""The closed form of attention offloading (arXiv 2405.01814, sections 3 and 4), on arrays.

Every argument is a number or an array; all broadcast. Times are in seconds, of one iteration of one
batch through all layers. A multiply-add is two operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from plait.sim.cost.link import transfer_seconds

__all__ = [
    "OffloadedModel",
    "Peak",
    "attention_seconds",
    "kv_bytes_per_token",
    "network_bytes",
    "network_seconds",
    "non_attention_seconds",
    "required_bandwidth_bytes_per_s",
]


@dataclass(frozen=True, slots=True)
class Peak:
    """What all devices of a pool reach together."""

    operations_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class OffloadedModel:
    """The sizes of a model that the closed form needs.

    Attributes:
        parameters: N.
        hidden: d, which is also the width of q.
        layers: L.
        group: G, query heads a KV head.
        weight_bytes, activation_bytes, kv_bytes: of one value; q and the output of attention
            travel as activations, k and v as they are cached.

    >>> llama = OffloadedModel(137.5e9 / 2, hidden=8192, layers=80, group=8)
    >>> kv_bytes_per_token(llama)
    327680.0
    """

    parameters: float
    hidden: int
    layers: int
    group: float
    weight_bytes: float = 2.0
    activation_bytes: float = 2.0
    kv_bytes: float = 2.0


def non_attention_seconds(model: OffloadedModel, pool: Peak, batch: Any) -> Any:
    """MTIME(B) = max(2 N B / F, (e N + 2 e B d) / W).

    >>> llama = OffloadedModel(137.5e9 / 2, hidden=8192, layers=80, group=8)
    >>> round(1e3 * float(non_attention_seconds(llama, Peak(989e12, 3.35e12), 300)), 4)
    41.7088
    """
    batch = np.asarray(batch, dtype=np.float64)
    moved = model.weight_bytes * model.parameters
    moved = moved + 2 * model.activation_bytes * batch * model.hidden
    operations = 2 * model.parameters * batch
    return np.maximum(operations / pool.operations_per_s, moved / pool.bytes_per_s)


def attention_seconds(
    model: OffloadedModel, pool: Peak, total_context: Any, imbalance: Any = 1.0
) -> Any:
    """ATIME = max(4 d L S / F, 2 e d L S / (G W)) with S the sum of the batch's contexts.

    Args:
        total_context: B l, or the sum of the lengths of a ragged batch.
        imbalance: load of the fullest memory device over the mean, see
            `plait.sim.families.offload_partition`.
    """
    tokens = np.asarray(total_context, dtype=np.float64) * imbalance
    operations = 4 * model.hidden * model.layers * tokens
    return np.maximum(
        operations / pool.operations_per_s, kv_bytes_per_token(model) * tokens / pool.bytes_per_s
    )


def kv_bytes_per_token(model: OffloadedModel) -> float:
    """Keys and values that one token adds to the cache: 2 e d L / G."""
    return 2 * model.kv_bytes * model.hidden * model.layers / model.group


def network_bytes(model: OffloadedModel, batch: Any) -> Any:
    """Bytes of one iteration between the pools: (2 + 2/G) e d B L for q, output, k and v."""
    values = 2 * model.activation_bytes + 2 * model.kv_bytes / model.group
    return values * model.hidden * model.layers * np.asarray(batch, dtype=np.float64)


def network_seconds(
    model: OffloadedModel, batch: Any, bandwidth_bytes_per_s: float, round_trip_s: float
) -> Any:
    """L (round trip + bytes a layer / bandwidth)."""
    a_layer = network_bytes(model, batch) / model.layers
    return model.layers * transfer_seconds(a_layer, bandwidth_bytes_per_s, round_trip_s)


def required_bandwidth_bytes_per_s(moved_bytes: Any, busy_s: Any, allowance: float) -> Any:
    """Smallest bandwidth whose transfers take ``allowance`` of MTIME + ATIME, no latency."""
    return moved_bytes / (allowance * np.asarray(busy_s))
