"""Views of the attention unit measured against each other: values, cycles, splits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from plait.attention_cosimulation import cosimulate_attention, float64_attention
from plait.measured import Error, relative
from plait.models.golden import attention as unit
from plait.models.golden.attention_operands import attend_cache, encode_cache, fold_query

__all__ = ["attention_errors"]

CONTEXTS = (128, 512, 2048, 8192, 32768)
_HEAD_SIZE, _TOKENS, _MACHINE = 64, 300, "offload-small"
_STALLS = ((0.0, 0), (0.1, 1), (0.5, 2))


def attention_errors() -> Iterator[Error]:
    """Golden model against float64 over contexts; Verilog against both, over splits and stalls."""
    errors = []
    for tokens in CONTEXTS:
        rng = np.random.default_rng(tokens)
        query = fold_query(2 * rng.standard_normal((4, _HEAD_SIZE)))
        cache = encode_cache(*rng.standard_normal((2, tokens, _HEAD_SIZE)))
        shift = cache.value_shift
        outputs = unit.divide(attend_cache(query, cache, shift), shift)
        exact = float64_attention(query, cache)
        errors.append(float(np.linalg.norm(outputs - exact) / np.linalg.norm(exact)))
    span = f"{CONTEXTS[0]} to {CONTEXTS[-1]} tokens"
    yield Error(f"golden attention, {span}", "float64", len(errors), max(errors))
    rng = np.random.default_rng(1)
    heads = 2 * rng.standard_normal((6, _HEAD_SIZE))
    keys, values = rng.standard_normal((2, 2, _TOKENS, _HEAD_SIZE))
    runs = [
        cosimulate_attention(_MACHINE, heads, keys, values, shards=shards, stall=stall, seed=seed)
        for shards in (1, 2, 3)
        for stall, seed in _STALLS
    ]
    compared = sum(run.values_compared for run in runs)
    different = sum(run.values_different for run in runs)
    yield Error(
        "partial results of the attention unit's Verilog",
        "golden model, bit for bit",
        compared,
        different / compared,
    )
    yield Error(
        "cycles of attention predicted, with and without stalls",
        "the Verilog",
        len(runs),
        max(relative(run.cycles_predicted, run.cycles_measured) for run in runs),
    )
