"""Kept weights: how many each block of 16 x 16 keeps, and the words of memory that they take.

For each group of 16 outputs memory holds the kept codes, a mask a block and a byte a block:
`plait.hwgen.sparse_dsp.weights` lays them out.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from plait.sim.compiler.core import WORD_BYTES
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = [
    "CODES_A_CYCLE", "FORMAT_BITS", "GROUPS_A_WORD", "KEPT", "WEIGHT_BITS", "code_words",
    "count_words", "spread",
]  # fmt: skip

KEPT = (0, 2, 4, 8, BLOCK)
"""Weights of 16 that an output may keep in a block."""

WEIGHT_BITS = (8, 4, 3, 2)
"""Of a code, by the field ``weight_format``."""

FORMAT_BITS = {f"int{bits}": bits for bits in WEIGHT_BITS}
"""Number format -> bits of a code."""

CODES_A_CYCLE = 32
"""What the array takes at once; they never cross a word."""

GROUPS_A_WORD = {8: 1, 4: 2, 3: 2, 2: 4}
"""Bits of a code -> how many times `CODES_A_CYCLE` a word holds."""


def code_words(kept: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Words of the codes of every group [groups]; ``kept`` is [groups, K blocks].

    >>> code_words(np.array([[16, 16], [0, 2]]), 4)
    array([8, 1])
    """
    return -(-kept.sum(axis=1) * BLOCK // (CODES_A_CYCLE * GROUPS_A_WORD[bits]))


def count_words(k_blocks: int) -> int:
    """Words of the kept counts of a group, a byte a block."""
    return -(-k_blocks // WORD_BYTES)


def spread(density: float, groups: int, k_blocks: int) -> NDArray[np.int64]:
    """Kept weights [groups, K blocks] of a density, as even as whole blocks can have it.

    Every block keeps one of the two counts around the mean, the larger one as soon as it is due.

    >>> spread(0.375, 1, 4)
    array([[4, 8, 4, 8]])
    """
    mean = density * BLOCK
    upper = min(bisect_right(KEPT, mean), len(KEPT) - 1)
    low, high = KEPT[upper - 1], KEPT[upper]
    due = np.floor(np.arange(groups * k_blocks + 1) * (mean - low) / (high - low))
    return np.where(np.diff(due) > 0, high, low).astype(np.int64).reshape(groups, k_blocks)
