"""Cycles and traffic of one matrix multiplication on our bit-serial machine, by cause.

The machine: rows are outputs, columns are tokens, output stationary. For each tile of columns the
activations are loaded once, then every tile of rows streams its weights (double-buffered) through
the array; a finished tile drains while the next one computes. One memory port carries everything.

Every argument may be a number or an array (multiplications x designs).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["MatmulCycles", "matmul_cycles"]

PIPELINE_DEPTH_CYCLES = 6  # decode, align, multiply, tree, accumulate, output register


class MatmulCycles(NamedTuple):
    """Whole numbers, in the order of a ladder: first the rungs, then what energy is made of."""

    ideal: Any
    edge_waste: Any
    pipeline_fill: Any
    dequantisation_tail: Any
    drain: Any
    memory_stall: Any
    busy_cycles: Any
    memory_cycles: Any
    steps: Any
    weight_writes: Any
    activation_writes: Any
    weight_bits_moved: Any
    activation_bits_moved: Any


def matmul_cycles(
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
) -> MatmulCycles:
    """Count one multiplication, `batch` times.

    Args:
        rows, columns, lanes: the array and the dot product of its PEs.
        terms: cycles of one step (terms of a weight; 1 if the PE takes whole weights).
        port_bits: bits the memory port moves a cycle.
        weight_buffer_bytes, activation_buffer_bytes, scale_buffer_bytes: on-chip buffers.
        write_port_bits: bits written into a buffer at once.
        scale_bits: cycles of the bit-serial multiplication at the end of a group.
        inputs, outputs, tokens: sizes of one multiplication.
        batch: independent multiplications of this size.
        weight_bits: stored bits a weight, its share of scales and selectors included.
        code_bits: bits of a weight's code alone.
        group_size: weights that share a scale.
        activation_bits: stored bits of an activation or a result.
        own_weights: each of the `batch` multiplications reads its own weights; here each is run by
            itself and reads them anyway.
    """
    row_tiles, column_tiles = -(-outputs // rows), -(-tokens // columns)
    steps = -(-inputs // lanes) * row_tiles * column_tiles
    busy = steps * terms
    ideal = -(-(outputs * inputs * tokens * terms) // (rows * columns * lanes))

    # Edge tiles move only the rows and columns in use; weights stream once a tile of columns.
    weight_row = np.int64(np.ceil(inputs * weight_bits))
    input_column = np.int64(np.ceil(inputs * activation_bits))
    weight_moved = weight_row * outputs * column_tiles
    input_moved = input_column * tokens
    output_moved = np.int64(np.ceil(outputs * activation_bits)) * tokens
    memory = -(-(weight_moved + input_moved + output_moved) // port_bits)

    # Nothing hides the first load and the last drain; the rest of the traffic runs beside compute.
    used_rows, used_columns = np.minimum(rows, outputs), np.minimum(columns, tokens)
    first_load = -(-(input_column * used_columns + weight_row * used_rows) // port_bits)
    last_output = np.int64(np.ceil(used_rows * used_columns * activation_bits))
    drain = -(-last_output // port_bits)
    stall = first_load + np.maximum(memory - first_load - drain - busy, 0)

    return MatmulCycles(
        ideal * batch,
        (busy - ideal) * batch,
        PIPELINE_DEPTH_CYCLES * batch,
        scale_bits * batch,
        drain * batch,
        stall * batch,
        busy * batch,
        memory * batch,
        steps * batch,
        -(-weight_moved // write_port_bits) * batch,
        -(-(input_moved + output_moved) // write_port_bits) * batch,
        weight_moved * batch,
        (input_moved + output_moved) * batch,
    )
