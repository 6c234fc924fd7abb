"""The same arithmetic as ``bit_serial``, for whole matrices: numba, one thread a block of outputs.

The inner loops run over tokens, without branches, so that LLVM makes vectors of them. With 32-bit
``working`` integers they hold twice the tokens; the caller says whether the widths allow that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

__all__ = ["TOKENS_AT_ONCE", "linear_sums"]

TOKENS_AT_ONCE = 64


@njit(cache=True, inline="always")
def _largest_exponents(largest, exponents, first, count, weight_exponents):
    for n in range(count):
        largest[n] = exponents[0, first + n] + weight_exponents[0]
    for lane in range(1, weight_exponents.size):
        weight_exponent = weight_exponents[lane]
        for n in range(count):
            largest[n] = max(largest[n], exponents[lane, first + n] + weight_exponent)


@njit(cache=True, inline="always")
def _add_lane(sums, largest, signs, exponents, mantissas, first, count, guard, sign, exponent):
    most = 8 * sums.itemsize - 1
    for n in range(count):
        shift = min(largest[n] - (exponents[first + n] + exponent), most) & most
        cut = (np.int64(mantissas[first + n]) << guard) >> shift
        negative = signs[first + n] ^ sign  # 0 or -1
        sums[n] += (cut ^ negative) - negative


@njit(cache=True, inline="always")
def _accumulate(mantissas, exponents, sums, largest, count, shift, bits):
    most = 8 * sums.itemsize - 1
    longest = 16 if sums.itemsize == 4 else 56
    for n in range(count):
        rise = largest[n] - exponents[n]
        left = mantissas[n] >> (min(max(rise, 0), most) & most)
        right = (sums[n] << shift) >> (min(max(-rise, 0), most) & most)
        total = left + right
        beyond = (total ^ (total >> most)) >> (bits - 1)
        excess = 0
        for j in range(longest):
            excess += (beyond >> j) != 0
        mantissas[n] = total >> (excess & most)
        exponents[n] += max(rise, 0) + excess


@njit(cache=True, inline="always")
def _add_group(out_mantissas, out_exponents, mantissas, exponents, count, scale, bits):
    for n in range(count):
        group = np.int64(mantissas[n]) * scale
        rise = np.int64(exponents[n]) - out_exponents[n]
        total = (out_mantissas[n] >> min(max(rise, 0), 63)) + (group >> min(max(-rise, 0), 63))
        exponent = out_exponents[n] + max(rise, 0)
        beyond = (total ^ (total >> 63)) >> (bits - 1)
        while beyond:
            total >>= 1
            beyond >>= 1
            exponent += 1
        out_mantissas[n], out_exponents[n] = total, exponent


@njit(parallel=True, cache=True)
def linear_sums(
    signs: NDArray[Any],
    exponents: NDArray[Any],
    mantissas: NDArray[Any],
    codes: NDArray[Any],
    selectors: NDArray[Any],
    scales: NDArray[Any],
    term_signs: NDArray[Any],
    term_mans: NDArray[Any],
    term_exponents: NDArray[Any],
    term_shifts: NDArray[Any],
    group_size: int,
    lanes: int,
    guard_bits: int,
    accumulator_bits: int,
    output_accumulator_bits: int,
    working: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Output accumulators (mantissa, exponent) int64 [outputs, tokens].

    Args:
        signs, exponents, mantissas: [inputs, tokens] of the activations; signs 0 or -1; inputs and
            group_size are multiples of ``lanes``.
        codes, selectors, scales: of the weights, [outputs, inputs] and twice [outputs, groups].
        term_signs, term_mans, term_exponents: [selectors, codes, terms]; signs 0 or -1.
        working: empty array whose type the inner loops compute in.
    """
    inputs, tokens = exponents.shape
    outputs = codes.shape[0]
    out_mantissas = np.zeros((outputs, tokens), np.int64)
    out_exponents = np.zeros((outputs, tokens), np.int64)
    for output in prange(outputs):
        sums = np.empty(TOKENS_AT_ONCE, working.dtype)
        largest = np.empty(TOKENS_AT_ONCE, working.dtype)
        mantissa = np.empty(TOKENS_AT_ONCE, working.dtype)
        exponent = np.empty(TOKENS_AT_ONCE, working.dtype)
        weight_exponents = np.empty(lanes, working.dtype)
        for first in range(0, tokens, TOKENS_AT_ONCE):
            count = min(TOKENS_AT_ONCE, tokens - first)
            for group in range(scales.shape[1]):
                selector = selectors[output, group]
                mantissa[:] = 0
                exponent[:] = 0
                for step in range(group * group_size, min((group + 1) * group_size, inputs), lanes):
                    for term in range(term_shifts.size):
                        for lane in range(lanes):
                            code = codes[output, step + lane]
                            weight_exponents[lane] = term_exponents[selector, code, term]
                        _largest_exponents(
                            largest, exponents[step : step + lanes], first, count, weight_exponents
                        )
                        sums[:] = 0
                        for lane in range(lanes):
                            code = codes[output, step + lane]
                            if term_mans[selector, code, term]:
                                _add_lane(
                                    sums,
                                    largest,
                                    signs[step + lane],
                                    exponents[step + lane],
                                    mantissas[step + lane],
                                    first,
                                    count,
                                    guard_bits,
                                    term_signs[selector, code, term],
                                    weight_exponents[lane],
                                )
                        _accumulate(
                            mantissa,
                            exponent,
                            sums,
                            largest,
                            count,
                            term_shifts[term],
                            accumulator_bits,
                        )
                _add_group(
                    out_mantissas[output, first:],
                    out_exponents[output, first:],
                    mantissa,
                    exponent,
                    count,
                    np.int64(scales[output, group]),
                    output_accumulator_bits,
                )
    return out_mantissas, out_exponents
