"""Links between devices: point to point, and the ring all-reduce of tensor parallelism."""

from __future__ import annotations

from typing import Any

__all__ = ["ring_all_reduce_seconds", "transfer_seconds"]


def transfer_seconds(size_bytes: Any, bandwidth_bytes_per_s: Any, latency_s: Any = 0.0) -> Any:
    """Give the time of one message, in seconds; arrays of one shape or single numbers.

    >>> transfer_seconds(45.7e9, 45.7e9, 33e-6)
    1.000033
    """
    return latency_s + size_bytes / bandwidth_bytes_per_s


def ring_all_reduce_seconds(
    size_bytes: Any, devices: Any, bandwidth_bytes_per_s: Any, latency_s: Any = 0.0
) -> Any:
    """Give the time of an all-reduce, in seconds: 2 (n-1) steps, each with an n-th of the bytes.

    >>> ring_all_reduce_seconds(8e9, 4, 1e9)
    12.0
    """
    return 2 * (devices - 1) * (size_bytes / devices / bandwidth_bytes_per_s + latency_s)
