"""Cycles and traffic of one matrix multiplication as BitMoD's published simulator counts them.

Source: the simulator published with BitMoD (HPCA 2025, arXiv 2411.11745): compute and memory
overlap perfectly, so an operation takes the longer of the two. It knows no pipeline fill, no
drain, no dequantisation and no softmax, norm or rotary embedding.

Every argument may be a number or an array (multiplications x designs).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plait.sim.cost import dram

__all__ = ["PublishedMatmul", "published_matmul"]


class PublishedMatmul(NamedTuple):
    """Whole numbers, in the order of a ladder: first the rungs, then what energy is made of."""

    compute: Any
    memory_stall: Any
    busy_cycles: Any
    memory_cycles: Any
    steps: Any
    weight_writes: Any
    activation_writes: Any
    weight_bits_moved: Any
    activation_bits_moved: Any


def published_matmul(
    rows: Any,
    columns: Any,
    lanes: Any,
    terms: Any,
    port_bits: Any,
    weight_buffer_bytes: Any,
    activation_buffer_bytes: Any,
    scale_buffer_bytes: Any,
    write_port_bits: Any,
    scale_bits: Any,
    inputs: Any,
    outputs: Any,
    tokens: Any,
    batch: Any,
    weight_bits: Any,
    code_bits: Any,
    group_size: Any,
    activation_bits: Any,
    own_weights: Any,
) -> PublishedMatmul:
    """Count one multiplication, `batch` times; arguments as in `matmul_cycles`."""
    steps = -(-inputs // lanes) * -(-outputs // rows) * -(-tokens // columns) * batch
    compute = steps * terms

    copies = np.where(own_weights, batch, 1)
    weight_bytes = np.int64(np.ceil(inputs * weight_bits / 8)) * outputs * copies
    input_bytes = np.int64(np.ceil(inputs * activation_bits / 8)) * tokens * batch
    output_bytes = np.int64(np.ceil(outputs * activation_bits / 8)) * tokens * batch

    weight_times, input_times = dram.fetches(
        weight_bytes, input_bytes, weight_buffer_bytes, activation_buffer_bytes
    )
    weight_moved = 8 * weight_bytes * weight_times
    activation_moved = 8 * (input_bytes * input_times + output_bytes)
    memory = (weight_moved + activation_moved) // port_bits  # a last part of a cycle is not counted

    weight_words = np.int64(np.ceil(inputs * weight_bits / write_port_bits))
    input_words = np.int64(np.ceil(inputs * activation_bits / write_port_bits))
    output_words = np.int64(np.ceil(outputs * activation_bits / write_port_bits))
    return PublishedMatmul(
        compute,
        np.maximum(memory - compute, 0),
        compute,
        memory,
        steps,
        weight_words * outputs * copies * weight_times,
        (input_words * input_times + output_words) * tokens * batch,
        weight_moved,
        activation_moved,
    )
