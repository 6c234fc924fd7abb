"""`memory_port.stalled`, compiled once for the recurrences of all families."""

from __future__ import annotations

from numba import njit

from plait.sim.families.memory_port import stalled

__all__ = ["first_free"]

_stalled = njit(cache=True)(stalled)


@njit(cache=True)
def first_free(cycle: int, channel: int, seed: int, threshold: int) -> int:
    """The first cycle from this one on in which the channel does not stall."""
    while threshold > 0 and _stalled(cycle, channel, seed, threshold):
        cycle += 1
    return cycle
