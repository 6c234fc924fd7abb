"""Sums of the sparse DSP chains, bit for bit: packing, multiplexer, chain, lanes, array, unpacking.

A DSP multiplies one weight by two activations: ``sum = (high << SHIFT) + low``, both lanes signed.
Chains of 16 DSPs take 16 kept weights of a block and end a sum behind every n-th (FlightLLM, arXiv
2401.03868, CSD-Chain). Everything here is integer and exact: the sums equal an int64 matmul.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BLOCK",
    "CASCADE",
    "GROUPS",
    "SHIFT",
    "chain",
    "choose",
    "exact_terms",
    "pack",
    "places",
    "restarts",
    "split",
    "step",
    "unpack_codes",
]

BLOCK = 16
"""Inputs of a block, and DSPs of a chain."""
GROUPS = 8
"""DSP groups of a chain, of two DSPs each."""
SHIFT = 18
"""Place of the high lane: two activations of 8 bits fit the 27 bits of the pre-adder."""
CASCADE = 8
"""DSPs in a row whose sum fits the lanes."""


def pack(high: ArrayLike, low: ArrayLike, shift: int = SHIFT) -> NDArray[np.int64]:
    """Give the packed operand or sum of two lanes."""
    return (np.asarray(high, np.int64) << shift) + np.asarray(low, np.int64)


def split(packed: ArrayLike, shift: int = SHIFT) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take a packed sum apart into high and low lane.

    A negative low lane has borrowed 1 from the high one. The pattern -2**(shift-1) means
    +2**(shift-1): eight products (-128) * (-128) reach it, no sum of eight products is as negative.
    """
    packed = np.asarray(packed, np.int64)
    half = 1 << (shift - 1)
    pattern = packed & (2 * half - 1)
    low = np.where(pattern > half, pattern - 2 * half, pattern)
    return (packed - low) >> shift, low


def exact_terms(weight_bits: int, shift: int = SHIFT, activation_bits: int = 8) -> int:
    """Give how many products a lane holds, so that `split` is exact for all values.

    18 bits hold 8 of INT8 x INT8, or 128 of INT4 x INT8; 22 bits hold 2048 of those.
    """
    most = 1 << (weight_bits - 1 + activation_bits - 1)
    least = most - min(1 << (weight_bits - 1), 1 << (activation_bits - 1))  # its negative
    half = 1 << (shift - 1)
    return min(half // most, (half - 1) // least)


def choose(window: ArrayLike, places_: ArrayLike) -> NDArray[np.int64]:
    """Give the activations [..., rows, weights] at places [..., weights] of [..., rows, 16]."""
    window, chosen = np.asarray(window, np.int64), np.asarray(places_, np.int64)
    return np.take_along_axis(window, chosen[..., None, :], axis=-1)


def restarts(kept: int) -> NDArray[np.bool_]:
    """Say which of the 8 groups of a chain begin a sum when n of 16 weights are kept."""
    dsps = np.arange(0, BLOCK, 2)
    return (dsps % min(kept, CASCADE)) == 0


def chain(
    weights: ArrayLike, high: ArrayLike, low: ArrayLike, begins: ArrayLike, cascade: int = CASCADE
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the lanes [..., groups] behind each DSP group.

    Args:
        weights: int [..., DSPs].
        high: activations of the high lane [..., DSPs].
        low: of the low lane.
        begins: bool [..., groups], groups that begin a sum; the first of a cascade always does.
        cascade: DSPs of a cascade.
    """
    products = pack(high, low) * np.asarray(weights, np.int64)
    pairs = products.reshape(*products.shape[:-1], -1, 2).sum(axis=-1)
    begins = np.broadcast_to(np.asarray(begins, bool), pairs.shape)
    taps = np.zeros_like(pairs)
    for group in range(pairs.shape[-1]):
        is_first = 2 * group % cascade == 0
        before = 0 if is_first else np.where(begins[..., group], 0, taps[..., group - 1])
        taps[..., group] = before + pairs[..., group]
    return split(taps)


def step(
    weights: ArrayLike, places_: ArrayLike, window: ArrayLike, kept: int, turn: int
) -> NDArray[np.int64]:
    """Give what a group of 32 weights adds to the 16 sums of each row, int64 [rows, 16].

    Args:
        weights: int [32], n for each of 32 / n outputs.
        places_: [32], input of the block that a weight meets.
        window: activations [rows, 16].
        kept: n.
        turn: which group of the block; it gives outputs 32 / n * turn and following.
    """
    window = np.asarray(window, np.int64)
    rows = len(window)
    padded = np.zeros((2 * -(-rows // 2), BLOCK), np.int64)
    padded[:rows] = window
    chosen = choose(padded, places_).reshape(-1, 2, 2, BLOCK)  # pairs, row of it, chain, DSP
    cells = np.asarray(weights, np.int64).reshape(2, BLOCK)
    high, low = chain(cells, chosen[:, 1], chosen[:, 0], restarts(kept))
    lanes = np.stack([low, high], axis=1).reshape(len(padded), 2, GROUPS)[:rows]
    if kept == BLOCK:
        ends = lanes[..., GROUPS // 2 - 1 :: GROUPS // 2].sum(axis=-1, keepdims=True)
    else:
        ends = lanes[..., kept // 2 - 1 :: kept // 2]
    added = np.zeros((rows, BLOCK), np.int64)
    count = 2 * BLOCK // kept
    added[:, count * turn : count * (turn + 1)] = ends.reshape(rows, count)
    return added


def unpack_codes(word: int, turn: int, bits: int) -> NDArray[np.int64]:
    """Dequantise: 32 codes of 2, 3, 4 or 8 bits, the ``turn``-th of a 256-bit word, as INT8."""
    stream = word >> (turn * 32 * bits)
    codes = np.array([stream >> (i * bits) & ((1 << bits) - 1) for i in range(32)], np.int64)
    return codes - (codes >> (bits - 1) << bits)


def places(masks: ArrayLike, kept: int, turn: int) -> NDArray[np.int64]:
    """Give the places of a group of 32 weights from the masks of its block's 16 outputs.

    Args:
        masks: 16 numbers of 16 bits, bit k set where input k is kept.
        kept: n, bits set in each.
        turn: which group of the block.
    """
    if kept == BLOCK:
        return np.tile(np.arange(BLOCK), 2)
    bits = np.asarray(masks, np.int64)[:, None] >> np.arange(BLOCK) & 1
    ordered = np.nonzero(bits)[1].reshape(-1, kept)
    return ordered.reshape(-1, 2 * BLOCK)[turn]
