"""DRAM traffic and energy of a matrix multiplication behind two on-chip buffers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fetches", "access_energy_pj", "fetches"]

Integers = NDArray[np.int64]


class Fetches(NamedTuple):
    """How often all weights and all inputs are read from DRAM."""

    weights: Integers
    inputs: Integers


def fetches(
    weight_bytes: Integers,
    input_bytes: Integers,
    weight_buffer_bytes: Integers,
    input_buffer_bytes: Integers,
) -> Fetches:
    """Choose which operand is read again when neither fits its buffer.

    Rule of BitMoD's published simulator: read all weights once a buffer of inputs, or all inputs
    once a buffer of weights, whichever moves fewer bytes (the first only if strictly fewer).
    """
    again = (weight_bytes > weight_buffer_bytes) & (input_bytes > input_buffer_bytes)
    weight_times = -(-input_bytes // input_buffer_bytes)
    input_times = -(-weight_bytes // weight_buffer_bytes)
    weights_again = again & (
        weight_bytes * weight_times + input_bytes < weight_bytes + input_bytes * input_times
    )
    inputs_again = again & ~weights_again
    return Fetches(np.where(weights_again, weight_times, 1), np.where(inputs_again, input_times, 1))


def access_energy_pj(moved_bits: Any, energy_pj_per_access: Any, access_bits: Any) -> Any:
    """Give the energy of moving bits, in pJ; part of an access costs its part."""
    return moved_bits * (energy_pj_per_access / access_bits)
