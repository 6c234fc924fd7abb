"""The loops of quantising, compiled by numba: FP32 arithmetic in an order that is always the same.

Every loop over a group is plain element by element or a halving tree, so that the compiler can use
vector instructions without changing a result: the same weights give the same codes on any machine.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["encode_affine", "encode_nearest", "group_range", "pair_errors"]

_MOST_LINEAR = 32  # thresholds up to which comparing with all beats a search


@numba.njit(parallel=True, cache=True)
def group_range(weight, group_size):
    """Smallest and largest weight of each group, float32 [outputs, groups] each."""
    outputs, inputs = weight.shape
    groups = (inputs + group_size - 1) // group_size
    low = np.empty((outputs, groups), np.float32)
    high = np.empty((outputs, groups), np.float32)
    for o in numba.prange(outputs):
        for g in range(groups):
            smallest = largest = weight[o, g * group_size]
            for k in range(g * group_size + 1, min((g + 1) * group_size, inputs)):
                smallest = min(smallest, weight[o, k])
                largest = max(largest, weight[o, k])
            low[o, g] = smallest
            high[o, g] = largest
    return low, high


@numba.njit(parallel=True, cache=True)
def encode_nearest(weight, group_size, scales, thresholds, grid, ladder_codes, minus_zero, errors):
    """Round each group to each candidate grid and keep the best, the earlier one on a tie.

    Args:
        weight: float32 [outputs, inputs].
        scales: float32 [outputs, groups, candidates].
        thresholds: float32 [candidates, n - 1], padded with infinity; n is a power of two.
        grid: float32 [candidates, n]; the value for each count of thresholds below the number.
        ladder_codes: [candidates, n] its code.
        minus_zero: code for negative numbers that round to zero; 0 where there is none.
        errors: float32 [outputs, groups, candidates], filled with the mean squared errors; left
            alone if there is one candidate.

    Returns:
        codes [outputs, inputs] and selectors uint8 [outputs, groups].
    """
    outputs, inputs = weight.shape
    groups, candidates = scales.shape[1], scales.shape[2]
    codes = np.empty((outputs, inputs), ladder_codes.dtype)
    selectors = np.zeros((outputs, groups), np.uint8)
    for o in numba.prange(outputs):
        scaled = np.empty(group_size, np.float32)
        values = np.empty(group_size, np.float32)
        index = np.empty(group_size, np.int32)
        for g in range(groups):
            start = g * group_size
            count = min(group_size, inputs - start)
            best = 0
            if candidates > 1:
                for c in range(candidates):
                    scale = scales[o, g, c]
                    _divide(weight[o], start, count, scale, scaled)
                    _nearest_value(scaled, count, thresholds[c], grid[c], values)
                    errors[o, g, c] = _squared_error(weight[o], start, count, scale, values)
                    if errors[o, g, c] < errors[o, g, best]:
                        best = c
            selectors[o, g] = best
            _divide(weight[o], start, count, scales[o, g, best], scaled)
            _count_below(scaled, count, thresholds[best], index)
            for i in range(count):
                code = ladder_codes[best, index[i]]
                if minus_zero and code == 0 and np.signbit(scaled[i]):
                    code = ladder_codes.dtype.type(minus_zero)
                codes[o, start + i] = code
    return codes, selectors


@numba.njit(parallel=True, cache=True)
def encode_affine(weight, group_size, scales, zeros, largest):
    """clamp(round(w / scale) + zero) to 0..largest, uint8 [outputs, inputs]; half to even."""
    outputs, inputs = weight.shape
    codes = np.empty((outputs, inputs), np.uint8)
    for o in numba.prange(outputs):
        for g in range(scales.shape[1]):
            scale, zero = scales[o, g], np.float32(zeros[o, g])
            for k in range(g * group_size, min((g + 1) * group_size, inputs)):
                code = np.rint(weight[o, k] / scale) + zero
                codes[o, k] = np.uint8(min(max(code, np.float32(0)), np.float32(largest)))
    return codes


@numba.njit(parallel=True, cache=True)
def pair_errors(weight, group_size, scales, thresholds, grid, largest_normal):
    """Mean squared error of each group for each candidate scale when outliers zero neighbours.

    Args:
        weight: float32 [outputs, inputs].
        scales: float32 [outputs, groups, candidates].
        thresholds, grid: float32 [n - 1] and [n], normal values and outliers together.
        largest_normal: magnitude above which a value is an outlier.

    Returns:
        float32 [outputs, groups, candidates].
    """
    outputs, inputs = weight.shape
    groups, candidates = scales.shape[1], scales.shape[2]
    errors = np.empty((outputs, groups, candidates), np.float32)
    for o in numba.prange(outputs):
        scaled = np.empty(group_size, np.float32)
        values = np.empty(group_size, np.float32)
        for g in range(groups):
            start = g * group_size
            count = min(group_size, inputs - start)
            for c in range(candidates):
                scale = scales[o, g, c]
                _divide(weight[o], start, count, scale, scaled)
                if count % 2:  # no partner to mark: stays normal
                    last = scaled[count - 1]
                    scaled[count - 1] = min(max(last, -largest_normal), largest_normal)
                _nearest_value(scaled, count, thresholds, grid, values)
                for i in range(0, count - 1, 2):
                    if abs(values[i]) > largest_normal:
                        values[i + 1] = 0
                    elif abs(values[i + 1]) > largest_normal:
                        values[i] = 0
                errors[o, g, c] = _squared_error(weight[o], start, count, scale, values)
    return errors


@numba.njit(cache=True)
def _divide(row, start, count, scale, out):
    for i in range(count):
        out[i] = row[start + i] / scale


@numba.njit(cache=True)
def _nearest_value(scaled, count, thresholds, grid, out):
    for i in range(count):
        out[i] = grid[0]
    for t in range(thresholds.size):
        threshold, value = thresholds[t], grid[t + 1]
        for i in range(count):
            out[i] = value if scaled[i] > threshold else out[i]


@numba.njit(cache=True)
def _count_below(scaled, count, thresholds, out):
    for i in range(count):
        out[i] = 0
    if thresholds.size > _MOST_LINEAR:  # a search without branches, all numbers a step at a time
        step = (thresholds.size + 1) >> 1
        while step:
            for i in range(count):
                out[i] += step if thresholds[out[i] + step - 1] < scaled[i] else 0
            step >>= 1
        return
    for t in range(thresholds.size):
        threshold = thresholds[t]
        for i in range(count):
            out[i] += np.int32(scaled[i] > threshold)


@numba.njit(cache=True)
def _squared_error(row, start, count, scale, values):
    """Mean of (value * scale - w)^2; overwrites ``values``."""
    for i in range(count):
        difference = values[i] * scale - row[start + i]
        values[i] = difference * difference
    left = count
    while left > 1:
        half = (left + 1) >> 1
        for i in range(left - half):
            values[i] += values[half + i]
        left = half
    return values[0] / np.float32(count)
