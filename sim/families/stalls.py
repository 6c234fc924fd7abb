"""When a test memory stalls: a hash of the cycle, the same in predictions, benches and harness."""

from __future__ import annotations

__all__ = ["READ_CHANNEL", "REQUEST_CHANNEL", "WRITE_CHANNEL", "stalled"]

# What a stall means: no request is accepted; no new word becomes valid; no write is accepted.
REQUEST_CHANNEL, READ_CHANNEL, WRITE_CHANNEL = range(3)


def stalled(cycle: int, channel: int, seed: int, threshold: int) -> bool:
    """Say whether a channel stalls in a cycle: a 32-bit hash below the probability times 2^32.

    The hash is the finaliser of MurmurHash3. Written so that numba compiles it too.

    >>> sum(stalled(cycle, READ_CHANNEL, seed=1, threshold=1 << 30) for cycle in range(1000))
    221
    """
    mask = 0xFFFFFFFF
    h = (3 * cycle + channel + seed * 0x9E3779B1) & mask
    h ^= h >> 16
    h = (h * 0x85EBCA6B) & mask
    h ^= h >> 13
    h = (h * 0xC2B2AE35) & mask
    h ^= h >> 16
    return h < threshold
