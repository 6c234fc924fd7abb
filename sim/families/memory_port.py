"""The memory port that every machine of rtl/ has, and when a test memory behind it stalls.

A stall is a hash of the cycle, the same in predictions, benches and harness.
"""

from __future__ import annotations

from typing import NamedTuple

from plait.errors import SpecError

__all__ = [
    "BURST_WORDS",
    "MEMORY_LATENCY_CYCLES",
    "READ_CHANNEL",
    "REQUEST_CHANNEL",
    "WORDS_IN_FLIGHT",
    "WRITE_CHANNEL",
    "Memory",
    "checked",
    "stalled",
    "threshold_of",
]

BURST_WORDS = 64  # longest request of plait_bs_reader
WORDS_IN_FLIGHT = 256  # requested and not yet received, at most
MEMORY_LATENCY_CYCLES = 8  # unless said otherwise

# What a stall means: no request is accepted; no new word becomes valid; no write is accepted.
REQUEST_CHANNEL, READ_CHANNEL, WRITE_CHANNEL = range(3)

_ALWAYS = 1 << 32  # the threshold that no hash reaches


class Memory(NamedTuple):
    """The memory behind the port.

    Attributes:
        latency: cycles from an accepted request to its first word; at least 1.
        threshold: stall probability a cycle and channel, times 2^32; see `threshold_of`.
        seed: of the stall pattern.
    """

    latency: int = MEMORY_LATENCY_CYCLES
    threshold: int = 0
    seed: int = 0


def checked(memory: Memory | None) -> Memory:
    """Give the memory, by default one that never stalls.

    Raises:
        SpecError: it answers before it is asked, or never.
    """
    memory = memory or Memory()
    if memory.latency < 1:
        raise SpecError("memory latency too short", got=memory.latency, expected="1 or more")
    if memory.threshold >= _ALWAYS:
        raise SpecError("a memory that always stalls never ends", where="stall")
    return memory


def threshold_of(stall: float) -> int:
    """Give the threshold of a stall probability, as the harness rounds it.

    Raises:
        SpecError: not a probability, or one at which nothing ever moves.

    >>> threshold_of(0.25) == 1 << 30
    True
    """
    # The second test: just below 1 the rounding gives 2^32.
    if not 0 <= stall < 1 or round(stall * _ALWAYS) >= _ALWAYS:
        raise SpecError("not a probability of stalls", where="stall", got=stall, expected="0 to <1")
    return round(stall * _ALWAYS)


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
