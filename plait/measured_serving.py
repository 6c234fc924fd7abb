"""Serving systems of the papers measured against our versions of their rules, row by row.

Splitwise (ISCA 2024): what its public simulator gives. Melange (arXiv 2404.14527): optima by
exhaustive search; case m1 is its repository's example. Infinite-LLM (arXiv 2401.02669) and Lamina
(arXiv 2405.01814): what independent programs of the papers' rules give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from plait.measured import Error, reference
from plait.sim.families import offload_partition as partition
from plait.sim.families import offload_rotation as rotation
from plait.sim.families.offload_times import OffloadedModel, Peak
from plait.sim.serving import allocate, infinite_llm, offload_trace, splitwise

__all__ = ["METHODS", "difference", "measure", "profile", "requests", "rows"]

_ROUNDING = 1e-11  # sums in another order differ by less
_DEVICES = {"H": "h100-80gb", "A": "a100-80gb"}

# Melange's inputs: $/h of each kind of device, its requests a second by bucket, shares of buckets.
_TWO = ([1.01, 3.67], [[[2, 1], [5, 2]], [[20, 20], [40, 20]]], [[0.2, 0.1], [0.5, 0.2]])
_THREE = (
    [0.7, 1.01, 3.67],
    [[[1.5, 0.6], [3, 0]], [[2, 1], [5, 2]], [[20, 20], [40, 20]]],
    [[0.3, 0.2], [0.4, 0.1]],
)
_FOUR = (
    [0.7, 1.01, 3.67, 7.516],
    [[[4, 1.2, 0.3]], [[9, 3, 0.9]], [[30, 14, 5]], [[55, 30, 12]]],
    [[0.6, 0.3, 0.1]],
)
_BOUGHT: dict[str, tuple[tuple[Any, Any, Any], float, int]] = {
    "m1": (_TWO, 30, 1),
    "m3": (_TWO, 8, 1),
    "m5": (_THREE, 12, 1),
    "m7": (_THREE, 3, 2),
    "m9": (_FOUR, 40, 4),
}
_FULL = infinite_llm.Holding(64, 60, 3, (2,) * 10)
_PLACED = {
    "i1": (infinite_llm.Holding(100, 96, 2, (4,) * 20), infinite_llm.Holding(100, 20, 10)),
    "i3": (_FULL, _FULL, infinite_llm.Holding(64, 0, 0)),
}
_LENGTHS = {
    "p1": [512 + 977 * i % 4096 for i in range(16)],
    "p2": [128 * (1 + i * i % 37) for i in range(24)],
    "p3": [32768] + [1024] * 15,
    "p4": [2 ** (6 + i % 8) for i in range(20)],
}
_LLAMA = OffloadedModel(68.75e9, hidden=8192, layers=80, group=8)


def measure() -> Iterator[Error]:
    """One line a system."""
    simulator = "rows of its public simulator, 11 digits"
    yield _error("times by Splitwise's rules", simulator, "splitwise", "splitwise_interp")
    yield _error("devices bought by Melange's integer program", "exhaustive search", "melange")
    independent = "an independent program, 11 digits"
    what = "KV blocks moved and sent by Infinite-LLM's rule"
    yield _error(what, independent, "infinite_llm", "infinite_llm_traffic")
    yield _error("rotational staggered pipelining", independent, "lamina_rotation")
    yield _error("ragged batches through that pipeline", independent, "lamina_trace")
    yield _error("imbalance of attention over devices", independent, "lamina_partition")


def _error(what: str, against: str, *methods: str) -> Error:
    differences = []
    for method in methods:
        for case, wanted in rows(method).items():
            ours = METHODS[method](case)
            differences += [difference(ours[name], text) for name, text in wanted.items()]
    return Error(what, against, len(differences), max(differences))


def difference(ours: float | str, wanted: str) -> float:
    """The relative difference to a row's value; texts, such as lists, are the same or wholly not.

    >>> difference("3 1", "3 1"), difference(1.1, "1.0") > 0.09
    (0.0, True)
    """
    if isinstance(ours, str):
        return float(ours not in wanted.split("|"))
    found = abs(ours - float(wanted)) / abs(float(wanted))
    return found if found > _ROUNDING else 0.0


@cache
def rows(method: str) -> dict[str, dict[str, str]]:
    """{case: {quantity: value as text}} of one method."""
    cases: dict[str, dict[str, str]] = {}
    for row in reference("serving.csv"):
        if row["method"] == method:
            cases.setdefault(row["case"], {})[row["quantity"]] = row["value"]
    return cases


def profile(device: str) -> splitwise.Profile:
    """The published medians of Llama-2-70B on eight devices, by tokens in the iteration."""
    found = {
        int(case.rpartition("_x")[2]): values
        for case, values in rows("splitwise_profile").items()
        if f"_{device}_" in case
    }
    x = sorted(found)
    columns = [np.array([float(found[k][q]) for k in x]) for q in ("prompt_s", "token_s")]
    return splitwise.Profile(np.array(x, dtype=float), *columns)


def requests(trace: str) -> tuple[Any, Any, Any]:
    """Arrivals in seconds, prompts and generated tokens of one of Splitwise's traces."""
    if trace == "tiny":
        return np.array([1.0, 3, 4]), np.array([4096, 2048, 2048]), np.array([32, 8, 16])
    i = np.arange(200)
    return 0.125 * (i + 1), 256 + (377 * i) % 2048, 8 + (53 * i) % 160


def _splitwise_times(case: str) -> dict[str, float | str]:
    device, _, x = case.rpartition("_x")
    of = profile(device)
    return {"prompt_s": of.prompt(float(x)), "token_s": of.token(float(x))}


def _splitwise(case: str) -> dict[str, float | str]:
    """B_H2_tiny: two servers alike; S_HA_tiny: one for prompts, the other for other tokens."""
    kind, servers, trace = case.split("_")
    if kind == "S":
        pools = [[profile(_DEVICES[letter])] for letter in servers]
    else:
        pools = [[profile(_DEVICES[servers[0]])] * int(servers[1:]), []]
    result = splitwise.play(*requests(trace), *pools)
    figures: dict[str, float | str] = {**result.figures()}
    for k in range(3):
        figures[f"ttft_req{k}"] = float(result.first_token_s[k] - result.arrival_s[k])
        figures[f"done_req{k}"] = float(result.finish_s[k])
    return figures


def _melange(case: str) -> dict[str, float | str]:
    (prices, throughputs, shares), rate_per_s, slices = _BOUGHT[case]
    best = allocate(prices, throughputs, shares, rate_per_s, slices)
    alone = [
        # a kind that cannot serve every bucket is no fleet
        allocate([price], [served], shares, rate_per_s).cost if np.all(served) else np.inf
        for price, served in zip(prices, throughputs, strict=True)
    ]
    return {
        "optimal_cost": best.cost,
        "optimal_counts": " ".join(map(str, best.counts)),
        "single_type_costs": " ".join(f"{cost:.4f}" for cost in alone),
    }


def _infinite_llm(case: str) -> dict[str, float | str]:
    before = _PLACED[case]
    moves, after = infinite_llm.place(before)
    told = (f"{move.debtor} {move.creditor} {move.blocks} {move.admitted}" for move in moves)
    return {
        "tps_before": sum(map(infinite_llm.rate, before)),
        "tps_after": sum(map(infinite_llm.rate, after)),
        "moves_debtor_creditor_blocks_admitted": ";".join(told),
    }


def _infinite_llm_traffic(case: str) -> dict[str, float | str]:
    shards, width, heads, queries = map(int, re.findall(r"\d+", case))
    sent = infinite_llm.shard_bytes(width, heads, value_bytes=2, shards=shards)
    return {
        "bytes_per_layer_fp16_scalars_fp32": queries * sent,
        # keys and values of 10,000 tokens in FP16, eight query heads share one
        "kv_bytes_per_layer_of_10000_tokens_G8": 10_000 * 2 * 2 * width / 8,
    }


def _rotation(case: str) -> dict[str, float | str]:
    texts = re.fullmatch(r"n(\d+)tm([\d.]+)ta([\d.]+)net([\d.]+)L(\d+)T(\d+)", case)
    assert texts is not None
    batches, layers, tokens = (int(texts[k]) for k in (1, 5, 6))
    times = [Fraction(texts[k]) for k in (2, 3, 4)]
    cycle = rotation.cycle(batches, *times)
    played = rotation.rotate(batches, *times, layers=layers, tokens=tokens)
    return {
        "cycle_formula": float(cycle),
        "tbt_formula": float(layers * cycle),
        "tbt_event_last_token_batch0": float(played.time_between_tokens),
        "makespan_event": float(played.makespan),
    }


def _partition(case: str) -> dict[str, float | str]:
    lengths, devices = _LENGTHS[case[:2]], int(case[4:])
    loads = {
        "request_round_robin": partition.round_robin(lengths, devices),
        "request_lpt": partition.longest_first(lengths, devices),
        "token_level": partition.token_level(lengths, devices),
    }
    figures: dict[str, float | str] = {
        f"{name}_imbalance": partition.imbalance(load) for name, load in loads.items()
    }
    heads = partition.head_level(lengths, devices, 8)
    return figures | {"head_level_imbalance_kv8": partition.imbalance(heads)}


def _ragged(case: str) -> dict[str, float | str]:
    texts = re.fullmatch(r"t70_n(\d+)_a(\d+)b(\d+)_r(\d+)_s(\d+)", case)
    assert texts is not None
    batches, compute, memory, count, stride = map(int, texts.groups())
    i = np.arange(count)
    played = offload_trace.play(
        _LLAMA,
        Peak(compute * 989e12, compute * 3.35e12),
        Peak(memory * 148e12, memory * 4.0e12),
        context=512 + stride * i % 4096,
        generated=4 + 3 * i % 9,
        batches=batches,
        bandwidth_bytes_per_s=compute * 45.7e9,
        round_trip_s=33e-6,
    )
    gaps = played.time_between_tokens_s
    return {
        "tbt_mean": float(gaps.mean()),
        "tbt_p90": float(np.percentile(gaps, 90)),
        "tbt_max": float(gaps.max()),
        "makespan": played.makespan_s,
        "tok_per_s": played.tokens / played.makespan_s,
        "pool_busy_fraction": played.pool_busy_s / played.makespan_s,
    }


METHODS: dict[str, Callable[[str], dict[str, float | str]]] = {
    "splitwise": _splitwise,
    "splitwise_interp": _splitwise_times,
    "melange": _melange,
    "infinite_llm": _infinite_llm,
    "infinite_llm_traffic": _infinite_llm_traffic,
    "lamina_rotation": _rotation,
    "lamina_partition": _partition,
    "lamina_trace": _ragged,
}
