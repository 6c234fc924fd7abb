"""Cuts a matrix multiplication into the tiles, steps and port words of the bit-serial machine.

Every argument may be a number or an array (multiplications x designs).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["STORED_ACTIVATION_BITS", "Matmul", "cut"]

STORED_ACTIVATION_BITS = 16  # in buffer and memory; INT8 in the low byte
HEADER_BITS = 16  # of a row: a channel step, or a scale and a selector
RESULT_BITS = 32


class Matmul(NamedTuple):
    """What the sequencer counts for one descriptor."""

    token_tiles: Any
    output_tiles: Any
    groups: Any
    steps_per_group: Any
    last_group_steps: Any
    terms: Any
    step_words: Any
    header_words: Any
    activation_words: Any  # of a token tile
    result_words: Any  # of a tile


def cut(
    array: tuple[Any, Any, Any],
    port_bits: Any,
    terms: Any,
    code_bits: Any,
    outputs: Any,
    steps: Any,
    tokens: Any,
    group_steps: Any,
) -> tuple[Matmul, Any]:
    """Count tiles and words of outputs x inputs weights times inputs x tokens activations.

    Args:
        array: rows, columns, lanes.
        steps: inputs, in lanes.
        group_steps: those of a group, not more than all.

    Returns:
        The counts; and how much of what ``step_words`` counts is in a port word. That is 1 where
        the bit planes of a step begin at a word, as a bit-serial PE wants them. A PE that takes
        whole weights has them packed: ``step_words`` are bits then.

    >>> job, _ = cut((8, 4, 4), 256, 2, 4, outputs=20, steps=38, tokens=5, group_steps=16)
    >>> job.output_tiles, job.groups, job.last_group_steps
    (3, 3, 6)
    """
    rows, columns, lanes = array
    groups = -(-steps // group_steps)
    is_serial = 2 * terms >= code_bits
    planes = np.maximum(port_bits // (rows * lanes), 1)
    plane_words = -(-rows * lanes // port_bits)
    step_bits = columns * lanes * STORED_ACTIVATION_BITS
    together = 2 ** np.int64(np.log2(np.maximum(port_bits // step_bits, 1)))  # steps a word
    job = Matmul(
        token_tiles=-(-tokens // columns),
        output_tiles=-(-outputs // rows),
        groups=groups,
        steps_per_group=group_steps,
        last_group_steps=steps - (groups - 1) * group_steps,
        terms=terms,
        step_words=np.where(
            is_serial, -(-code_bits // planes) * plane_words, rows * lanes * code_bits
        ),
        header_words=-(-rows * HEADER_BITS // port_bits),
        activation_words=-(-steps // together) * -(-step_bits // port_bits),
        result_words=-(-rows * columns * RESULT_BITS // port_bits),
    )
    return job, np.where(is_serial, 1, port_bits)
