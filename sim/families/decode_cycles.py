"""Cycles of the decode units: closed forms of what the Verilog in rtl/decode needs.

A unit takes a beat of codes a cycle, and every row of codes begins a beat; streams run on from row
to row, so the pipeline is filled once. Nothing stalls. Only a banked codebook takes longer than its
beats: the lookups of a beat that fall into one bank follow one another.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = [
    "CODEBOOK_LATENCY",
    "EXPANDER_LATENCY",
    "LOOKUP_TABLE_LATENCY",
    "TRIT_TREE_LATENCY",
    "codebook_cycles",
    "expander_cycles",
    "lookup_table_cycles",
    "mean_conflict_cycles",
    "trit_tree_cycles",
]

TRIT_TREE_LATENCY = 2
EXPANDER_LATENCY = 2
LOOKUP_TABLE_LATENCY = 1
CODEBOOK_LATENCY = 3
"""Cycles from a beat to what it gives; of a codebook without conflicts."""
_NEGLIGIBLE = 1e-12  # probability of a load that does not count any more


def trit_tree_cycles(outputs: int, inputs: int, tree_inputs: int, tokens: int = 1) -> int:
    """Cycles from the first beat to the last sum of ternary weights [outputs, inputs].

    >>> trit_tree_cycles(16, 100, tree_inputs=64)
    34
    """
    return tokens * outputs * -(-inputs // tree_inputs) + TRIT_TREE_LATENCY


def expander_cycles(outputs: int, inputs: int, weights_per_cycle: int) -> int:
    """Cycles from the first codes to the last INT8 weights [outputs, inputs].

    >>> expander_cycles(16, 100, weights_per_cycle=16)
    114
    """
    return outputs * -(-inputs // weights_per_cycle) + EXPANDER_LATENCY


def lookup_table_cycles(
    outputs: int, inputs: int, weights_per_cycle: int, entries: int, luts: int = 1
) -> int:
    """Cycles of loading ``luts`` palettes, an entry each, and of the lookups between them.

    A palette is loaded when the indices of the one before are in.

    >>> lookup_table_cycles(8, 100, weights_per_cycle=16, entries=8, luts=2)
    73
    """
    beats = outputs * -(-inputs // weights_per_cycle)
    return luts * entries + beats + LOOKUP_TABLE_LATENCY


def codebook_cycles(
    rows: int, columns: int, lookups_per_cycle: int, banks: int, entries: int
) -> float:
    """Cycles of loading a codebook, a vector each, and of random lookups [rows, columns]; a mean.

    >>> codebook_cycles(8, 64, lookups_per_cycle=1, banks=4, entries=256)
    771.0
    """
    whole, rest = divmod(columns, lookups_per_cycle)
    lookups = whole * mean_conflict_cycles(lookups_per_cycle, banks)
    lookups += mean_conflict_cycles(rest, banks) if rest else 0.0
    return entries + rows * lookups + CODEBOOK_LATENCY


@lru_cache
def mean_conflict_cycles(lookups: int, banks: int) -> float:
    """Mean cycles of a beat of random lookups: the mean load of the fullest of ``banks``.

    E = sum over m of P(load > m), and P(load <= m) is lookups! / banks^lookups times the
    coefficient of x^lookups in (sum_{j <= m} x^j / j!)^banks.

    >>> mean_conflict_cycles(2, 2)
    1.5
    """
    if banks == 1:
        return float(lookups)
    # x is scaled to lookups / banks and the series to a sum of 1: no power leaves float64
    ratio = lookups / banks
    steps = ratio / np.arange(1, lookups + 1)
    weights = np.exp(-ratio) * np.concatenate([[1.0], np.cumprod(steps)])
    all_in, mean = _coefficient(weights, banks, lookups), 0.0
    for most in range(lookups):
        held = np.where(np.arange(lookups + 1) <= most, weights, 0.0)
        above = 1.0 - _coefficient(held, banks, lookups) / all_in
        if above < _NEGLIGIBLE:
            break
        mean += above
    return mean


def _coefficient(series: np.ndarray, power: int, degree: int) -> float:
    """Coefficient of x^degree in series^power."""
    result = np.zeros(degree + 1)
    result[0] = 1.0
    while power:
        if power & 1:
            result = np.convolve(result, series)[: degree + 1]
        series = np.convolve(series, series)[: degree + 1]
        power >>= 1
    return float(result[degree])
