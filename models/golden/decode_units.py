"""Golden decode units: bytes as stored in, the weights or sums that the Verilog gives out.

Takes the parts that ``quantize.storage`` stores (codes packed in the bit order of formats.packing,
zero points, scales, palettes, codebooks), gives integers, or FP16 values as their 16 bits. A unit
takes a beat of codes a cycle; every row of codes begins a beat, and what the last beat of a row
lacks is filled up. Values that a unit could not give exactly are refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.errors import FormatError
from plait.models.formats import unpack_codes
from plait.models.golden.fixed import Integers

__all__ = [
    "beats",
    "codebook_vectors",
    "conflict_cycles",
    "expanded_sums",
    "expanded_weights",
    "palette_values",
    "sum_bits",
    "trit_sum_bits",
    "trit_sums",
    "trit_weights",
]

_TRIT_BITS = 2
_DUAL_BITS = 4
_INT8_BITS = 8
_UNUSED_TRIT = 0b10

Bytes = NDArray[np.uint8]
Halves = NDArray[np.uint16]


def beats(rows: NDArray[np.integer], width: int, fill: int = 0) -> Integers:
    """What a unit of ``width`` lanes takes: int64 [rows, beats, width] of [rows, columns].

    >>> beats(np.array([[1, 2, 3]]), 2).tolist()
    [[[1, 2], [3, 0]]]
    """
    missing = -rows.shape[1] % width
    padded = np.pad(rows.astype(np.int64), ((0, 0), (0, missing)), constant_values=fill)
    return padded.reshape(rows.shape[0], -1, width)


# ---- Ternary weights: arXiv 2406.02528 ----------------------------------------------------------


def trit_weights(packed: Bytes, shape: tuple[int, int]) -> Integers:
    """Weights of -1, 0, 1, int64 [outputs, inputs]: bit 0 says whether, bit 1 the sign."""
    codes = unpack_codes(packed, shape[0] * shape[1], _TRIT_BITS).astype(np.int64).reshape(shape)
    if (codes == _UNUSED_TRIT).any():
        raise FormatError("not a trit", where="codes", got="10", expected="00, 01 or 11")
    return np.where(codes & 1, 1 - (codes & 2), 0)


def trit_sum_bits(inputs: int) -> int:
    """Bits, the sign's included, of a sum of ``inputs`` activations of -127 to 127.

    >>> [trit_sum_bits(inputs) for inputs in (1, 64, 65)]
    [8, 14, 15]
    """
    return _INT8_BITS + (inputs - 1).bit_length()


def trit_sums(
    packed: Bytes, shape: tuple[int, int], activations: NDArray[np.integer], accumulator_bits: int
) -> Integers:
    """Sums int64 [tokens, outputs] of ternary weights times INT8 activations [tokens, inputs].

    Args:
        packed: codes as stored, outputs in order.
        shape: (outputs, inputs).
        accumulator_bits: of the tree; too few are refused.
    """
    _check_activations(activations, shape[1], least=-127)
    _check_accumulator(accumulator_bits, trit_sum_bits(shape[1]), shape[1])
    return activations.astype(np.int64) @ trit_weights(packed, shape).T


# ---- Dual grained weights: DGQ, arXiv 2310.04836 ------------------------------------------------


def expanded_weights(
    packed: Bytes,
    zeros: NDArray[np.int8],
    scale_codes: NDArray[np.uint8],
    shape: tuple[int, int],
) -> Integers:
    """INT8 weights (code - zero) * scale, int64 [outputs, inputs].

    Args:
        packed: 4-bit codes as stored, outputs in order.
        zeros: int8 [outputs, groups].
        scale_codes: uint8 [outputs, groups], integers.
    """
    codes = unpack_codes(packed, shape[0] * shape[1], _DUAL_BITS).astype(np.int64)
    groups = codes.reshape(*zeros.shape, -1)
    difference = groups - zeros.astype(np.int64)[..., np.newaxis]
    weights = (difference * scale_codes.astype(np.int64)[..., np.newaxis]).reshape(shape)
    if weights.size and not -128 <= weights.min() <= weights.max() <= 127:
        worst = int(max(weights.min(), weights.max(), key=abs))
        raise FormatError("not an INT8 weight", where="codes", got=worst, expected="-128 to 127")
    return weights


def sum_bits(inputs: int) -> int:
    """Bits of a sum of ``inputs`` products of 8 by 8 bits, the sign's and that of 2^14 included.

    >>> sum_bits(4096)
    28
    """
    return 2 * _INT8_BITS + (inputs - 1).bit_length()


def expanded_sums(
    weights: Integers, activations: NDArray[np.integer], accumulator_bits: int
) -> Integers:
    """Sums int64 [tokens, outputs] of INT8 weights [outputs, inputs] times INT8 activations."""
    _check_activations(activations, weights.shape[1], least=-128)
    _check_accumulator(accumulator_bits, sum_bits(weights.shape[1]), weights.shape[1])
    return activations.astype(np.int64) @ weights.T


# ---- Palettes and codebooks: arXiv 2309.00964, 2409.17066, 2401.06118 ---------------------------


def palette_values(
    packed: Bytes, luts: NDArray[np.float16], code_bits: int, shape: tuple[int, int]
) -> Halves:
    """FP16 bits, uint16 [outputs, inputs], that the indices of each row group look up.

    Args:
        packed: indices as stored, outputs in order.
        luts: float16 [row groups, entries].
    """
    codes = unpack_codes(packed, shape[0] * shape[1], code_bits).astype(np.intp)
    words = np.ascontiguousarray(luts).view(np.uint16)
    rows = -(-shape[0] // words.shape[0])
    group = np.arange(shape[0]) // rows
    return words[group[:, np.newaxis], codes.reshape(shape)]


def codebook_vectors(indices: NDArray[np.integer], codebook: NDArray[np.float16]) -> Halves:
    """FP16 bits, uint16 [..., v], of the vectors that indices [...] look up.

    Args:
        codebook: float16 [entries, v].
    """
    if indices.size and int(indices.max()) >= codebook.shape[0]:
        raise FormatError(
            "an index beyond the codebook",
            where="codes",
            got=int(indices.max()),
            expected=f"at most {codebook.shape[0] - 1}",
        )
    return np.ascontiguousarray(codebook).view(np.uint16)[indices.astype(np.intp)]


def conflict_cycles(indices: Integers, banks: int) -> Integers:
    """Cycles of each beat, int64 [beats]: its lookups in the busiest bank, one at least.

    Entry i lies in bank i modulo ``banks``; each bank gives one entry a cycle.

    Args:
        indices: int64 [beats, lookups]; -1 is a lane without a lookup.

    >>> conflict_cycles(np.array([[0, 1, 2, 3], [0, 4, 8, 1]]), 4).tolist()
    [1, 3]
    """
    every = np.arange(indices.shape[0])
    loads = np.zeros((indices.shape[0], banks), np.int16)
    for lane in indices.T:  # a lane has one lookup a beat, so no place is added to twice
        loads[every, lane % banks] += (lane >= 0).astype(np.int16)
    longest: Integers = np.maximum(loads.max(axis=1), 1).astype(np.int64)
    return longest


def _check_activations(activations: NDArray[np.integer], inputs: int, least: int) -> None:
    if activations.ndim != 2 or activations.shape[1] != inputs:
        raise FormatError(
            "activations of another matrix",
            where="activations",
            got=list(activations.shape),
            expected=f"[tokens, {inputs}]",
        )
    if activations.size and not least <= activations.min() <= activations.max() <= 127:
        worst = int(max(activations.min(), activations.max(), key=abs))
        raise FormatError(
            "beyond the unit's INT8", where="activations", got=worst, expected=f"{least} to 127"
        )


def _check_accumulator(bits: int, least: int, inputs: int) -> None:
    if bits < least:
        raise FormatError(
            "the accumulator could wrap",
            where="accumulator_bits",
            got=bits,
            expected=f"{least} or more for {inputs} inputs",
        )
