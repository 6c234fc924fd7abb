"""What the users of a cluster see: counts of times in fine bins, rates, and the Outcome.

Times are counted in bins whose edges are a tenth of a percent apart, with their sum: so memory does
not grow with the trace, a percentile is right to a tenth of a percent, and exact where all times of
its bin are equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plait.files import write_atomically
from plait.sim.cost.price import tokens_per_usd
from plait.sim.serving._state import TIMELINE_COLUMNS
from plait.sim.serving.bins import summarise

if TYPE_CHECKING:
    from plait.sim.serving.cluster import Cluster, Limits

__all__ = ["Outcome", "Tally", "with_latencies"]


class Tally:
    """Sums over finished requests, added piece by piece."""

    def __init__(self, limits: Limits) -> None:
        from plait.sim.serving.bins import empty

        self.limits = limits
        self.first = empty()
        self.whole = empty()
        self.counts = np.zeros(3)  # finished, good, tokens generated
        self.last_s = 0.0

    def add(self, rows: NDArray[np.void]) -> None:
        """Add finished requests."""
        from plait.sim.serving.bins import add

        if not len(rows):
            return
        first = rows["first_token_s"] - rows["arrival_s"]
        add(self.first, first)
        add(self.whole, rows["finish_s"] - rows["arrival_s"])
        good = np.ones(len(rows), bool)
        if self.limits.time_to_first_token_s is not None:
            good &= first <= self.limits.time_to_first_token_s
        if self.limits.time_between_tokens_s is not None:
            good &= _between(rows) <= self.limits.time_between_tokens_s
        self.counts += len(rows), good.sum(), rows["generated"].sum()
        self.last_s = max(self.last_s, float(rows["finish_s"].max()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps."""
        return {
            "tally_first": self.first,
            "tally_whole": self.whole,
            "tally_counts": self.counts,
            "tally_last_s": np.array(self.last_s),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what a checkpoint kept."""
        self.first, self.whole = arrays["tally_first"], arrays["tally_whole"]
        self.counts, self.last_s = arrays["tally_counts"], float(arrays["tally_last_s"])


def _between(rows: Any) -> Any:
    """Mean time between the tokens of a request; 0 where there is one token."""
    spans = rows["finish_s"] - rows["first_token_s"]
    return spans / np.maximum(rows["generated"] - 1, 1)


def with_latencies(rows: NDArray[np.void], names: list[str], first_s: float) -> pd.DataFrame:
    """Make the frame of finished requests, in the order of their rows in the source.

    Args:
        names: of the instances.
        first_s: arrival of the first request: times are told on the source's clock.
    """
    rows = rows[np.argsort(rows["id"], kind="stable")]
    return pd.DataFrame(
        {
            "request": rows["id"],
            "arrival_s": rows["arrival_s"] + first_s,
            "context": rows["context"],
            "generated": rows["generated"],
            "instance": np.array(names, dtype=object)[rows["instance"]],
            "queue_s": rows["start_s"] - rows["arrival_s"],
            "time_to_first_token_s": rows["first_token_s"] - rows["arrival_s"],
            "time_between_tokens_s": _between(rows),
            "longest_gap_s": rows["longest_gap_s"],
            "response_s": rows["finish_s"] - rows["arrival_s"],
            "finish_s": rows["finish_s"] + first_s,
            "preemptions": rows["preemptions"],
        }
    )


@dataclass(frozen=True)
class Outcome:
    """The result of a run; frames are made when asked for.

    Attributes:
        throughput_tokens_per_s: tokens generated for finished requests, from the first arrival to
            the last finish.
        throughput_per_dollar: tokens that a dollar of rent buys; None without prices.
        time_to_first_token_s: from arrival: mean, p50, p90, p99.
        time_between_tokens_s: over all pairs of neighbouring tokens of all requests: the same.
        response_s: from arrival to the last token: the same.
        goodput_requests_per_s: finished requests within both limits, a second.
        batch_mean: requests of an instance's step that gives tokens, mean over such steps.
        makespan_s: from the first arrival to the last finish.
        utilisation: share of that time in which instances were busy.
        energy_joules: board power of the devices while their instance is busy; None if not stated.
        usd_per_hour: rent; None if not stated.
        preemptions: how often a request lost its KV and was computed again.
        most_in_flight: requests that had arrived and not finished, at the worst moment.
        step_time_error: of interpolated step times, largest measured.
        counts: requests, finished, unfinished, prompt_tokens, tokens.
        failures: a row for each lost device.
    """

    model: str
    policy: str
    devices: str
    throughput_tokens_per_s: float
    throughput_per_dollar: float | None
    time_to_first_token_s: Mapping[str, float]
    time_between_tokens_s: Mapping[str, float]
    response_s: Mapping[str, float]
    goodput_requests_per_s: float
    batch_mean: float
    makespan_s: float
    utilisation: float
    energy_joules: float | None
    usd_per_hour: float | None
    preemptions: int
    most_in_flight: int
    step_time_error: float
    counts: Mapping[str, int]
    timeline: pd.DataFrame = field(repr=False)
    instances: pd.DataFrame = field(repr=False)
    failures: pd.DataFrame = field(repr=False)
    limits: Mapping[str, float] = field(repr=False)
    _requests: Any = field(repr=False)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """Finished requests, one row each: times in seconds, lengths in tokens."""
        frame: pd.DataFrame = self._requests()
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Give all figures but the frames of requests and timeline."""
        names = [
            "model", "policy", "devices", "throughput_tokens_per_s", "throughput_per_dollar",
            "time_to_first_token_s", "time_between_tokens_s", "response_s",
            "goodput_requests_per_s", "batch_mean", "makespan_s", "utilisation", "energy_joules",
            "usd_per_hour", "preemptions", "most_in_flight", "step_time_error", "counts",
        ]  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        found = {name: value for name, value in values.items() if value is not None}
        tables = {"instances": self.instances, "failures": self.failures}
        return found | {name: frame.to_dict("records") for name, frame in tables.items()}

    def to_json(self) -> str:
        """Give `to_dict` as a JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, default=_plain)

    def to_csv(self, path: str | Path) -> None:
        """Write the finished requests."""
        with write_atomically(path) as temporary:
            self.requests.to_csv(temporary, index=False)

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained page: timelines and percentiles."""
        from plait.sim.report.serving import write_serving_page

        return write_serving_page(self, path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def timeline_frame(state: Any, first_s: float, block_tokens: int) -> pd.DataFrame:
    """Make the frame of intervals: means over each, and rates."""
    interval = float(state.g["interval_s"][0])
    last = int(state.g["now_s"][0] / interval) + 1
    columns = dict(zip(TIMELINE_COLUMNS, state.timeline[:last].T, strict=True))
    blocks = max(float(state.instances["blocks"].sum()), 1.0)
    return pd.DataFrame(
        {
            "time_s": np.arange(last) * interval + first_s,
            "interval_s": interval,
            "arrivals_per_s": columns["arrived"] / interval,
            "finished_per_s": columns["finished"] / interval,
            "tokens_per_s": columns["tokens"] / interval,
            "prompt_tokens_per_s": columns["prompt_tokens"] / interval,
            "running": columns["running"] / interval,
            "waiting": columns["waiting"] / interval,
            "kv_tokens": columns["used"] / interval * block_tokens,
            "kv_used": columns["used"] / interval / blocks,
            "busy": columns["busy"] / interval / len(state.instances),
            "down": columns["down"] / interval / len(state.instances),
            "kv_lost_per_s": columns["lost"] / interval,
        }
    )


def outcome(
    cluster: Cluster,
    plan: Any,
    state: Any,
    tally: Tally,
    first_s: float,
    count: int,
    step_time_error: float,
    requests: Any,
) -> Outcome:
    """Put the figures of a finished run together."""
    finished, good, tokens = (int(v) for v in tally.counts)
    makespan = max(tally.last_s, 1e-12)
    inst = state.instances
    per_s = tokens / makespan
    powers = [one.power_w for one in plan.instances]
    energy = None
    if all(power is not None for power in powers):
        energy = float(np.dot(powers, inst["busy_s"]))
    steps = max(int(state.g["decode_steps"][0]), 1)
    hits = {int(e["failure"]): int(e["hit"]) for e in state.events if e["failure"] >= 0}
    return Outcome(
        model=cluster.model,
        policy=cluster.policy,
        devices=" + ".join(f"{entry.count} {entry.machine}" for entry in cluster.devices),
        throughput_tokens_per_s=per_s,
        throughput_per_dollar=tokens_per_usd(per_s, plan.usd_per_hour)
        if plan.usd_per_hour
        else None,
        time_to_first_token_s=summarise(tally.first),
        time_between_tokens_s=summarise(state.gaps),
        response_s=summarise(tally.whole),
        goodput_requests_per_s=good / makespan,
        batch_mean=int(state.g["decode_tokens"][0]) / steps,
        makespan_s=makespan,
        utilisation=float(inst["busy_s"].sum() / (makespan * len(inst))),
        energy_joules=energy,
        usd_per_hour=plan.usd_per_hour,
        preemptions=int(state.g["preemptions"][0]),
        most_in_flight=int(state.g["most_in_flight"][0]),
        step_time_error=step_time_error,
        counts={
            "requests": count,
            "finished": finished,
            "unfinished": count - finished,
            "tokens": int(state.g["tokens"][0]),
            "prompt_tokens": int(state.g["prompt_tokens"][0]),
        },
        timeline=timeline_frame(state, first_s, cluster.batching.block_tokens),
        instances=pd.DataFrame(
            {
                "instance": [one.name for one in plan.instances],
                "role": [("mixed", "prompt", "decode")[one.role] for one in plan.instances],
                "kv_tokens": inst["blocks"] * cluster.batching.block_tokens,
                "busy_s": inst["busy_s"],
                "down_s": inst["down_s"],
                "iterations": inst["iterations"],
                "tokens": inst["tokens"],
            }
        ),
        failures=pd.DataFrame(
            {
                "device": [f.device for f in cluster.failures],
                "at_s": [f.at_s for f in cluster.failures],
                "for_s": pd.Series([f.for_s for f in cluster.failures], dtype=object),
                "requests_hit": [hits.get(k, 0) for k in range(len(cluster.failures))],
            }
        ),
        limits={k: v for k, v in cluster.limits.model_dump().items() if v is not None},
        _requests=requests,
    )
