"""A run: checks everything, tabulates step times, plays the requests, keeps what finishes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait import __version__
from plait.errors import SpecError
from plait.sim.identity import identity
from plait.sim.serving import _kernel as kernel
from plait.sim.serving import bins
from plait.sim.serving._state import ARRIVAL, INSTANCE, State, Tables, new_state, with_more_slots
from plait.sim.serving.cluster import Cluster, load_cluster
from plait.sim.serving.failures import Stage, events, stages
from plait.sim.serving.metrics import Outcome, Tally, outcome, with_latencies
from plait.sim.serving.request import Source, Summary, check, load_requests, replay
from plait.sim.serving.scheduler import Plan, plan
from plait.sim.serving.store import Memory, Store
from plait.sim.serving.times import Grids, Model, measured, probe, tabulate

if TYPE_CHECKING:
    import pandas as pd

    from plait.sim.spec.base import Accelerator

__all__ = ["serve"]

Progress = Callable[[int, int], None]


def serve(
    requests: str | Path | pd.DataFrame | Mapping[str, Any] | Source,
    cluster: str | Path | Mapping[str, Any] | Cluster,
    *,
    rate_scale: float = 1.0,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Serve requests on a cluster, event by event.

    Args:
        requests: see `plait.sim.serving.request.load_requests`.
        cluster: a YAML file or a mapping, see `plait.sim.serving.cluster.Cluster`.
        rate_scale: how many times as fast requests arrive; ``math.inf``: all at once.
        out: a folder for finished requests and checkpoints; a run that was cut off goes on there.
            Without it everything stays in memory.
        progress: called with the requests finished and the requests in all.
    """
    if not rate_scale > 0:
        raise SpecError("out of range", where="rate_scale", got=rate_scale, expected="more than 0")
    source, described = load_requests(requests), load_cluster(cluster)
    summary = check(source)
    model = _model(described)
    laid = plan(described, model)
    health = stages(described, laid)
    _check_lengths(source, summary, described, model, health)
    tables, index, error = _step_times(described, model, health, summary, laid)
    first_s = summary.first_s if math.isfinite(rate_scale) else 0.0
    state, arguments = _begin(described, model, laid, health, index, first_s), (laid.rules, tables)
    devices = [described.device_of(k).model_dump() for k in range(len(described.devices))]
    told = (__version__, described.model_dump(), devices, source.identity, rate_scale)
    store = Store(out, identity(*told)) if out is not None else Memory()
    tally = Tally(described.limits)
    state = _play(state, arguments, source, summary, rate_scale, store, tally, progress)
    names = [one.name for one in laid.instances]
    return outcome(
        described,
        laid,
        state,
        tally,
        first_s,
        summary.count,
        error,
        lambda: with_latencies(store.rows(), names, first_s),
    )


def _model(cluster: Cluster) -> Model:
    from plait.models.graph.load import load_graph

    return Model.of(load_graph(cluster.model), cluster.formats)


def _check_lengths(
    source: Source, summary: Summary, cluster: Cluster, model: Model, health: list[Stage]
) -> None:
    """Refuse requests that no instance of their pool could ever hold."""
    block = cluster.batching.block_tokens * model.kv_bytes_per_token
    whole = [stage for stage in health if not np.isfinite(stage.time_s)]
    room = min(int(stage.health.kv_bytes / block) for stage in whole)
    tokens = room * cluster.batching.block_tokens
    if summary.longest_total > tokens:
        raise SpecError(
            "a request longer than the KV memory of an instance",
            where=f"{source.name}: row {summary.longest_row}: context + generated",
            got=summary.longest_total,
            expected=f"at most {tokens} tokens on this cluster",
        )


def _step_times(
    cluster: Cluster, model: Model, health: list[Stage], summary: Summary, laid: Plan
) -> tuple[Tables, list[int], float]:
    """Tables of all healths, the table of each stage (-1: down), and the interpolation's error."""
    machines: list[tuple[Accelerator, Accelerator | None]] = []
    index = []
    for stage in health:
        wanted = stage.health.machines
        if wanted is not None and wanted not in machines:
            machines.append(wanted)
        index.append(-1 if wanted is None else machines.index(wanted))
    if cluster.step_times is not None:
        if len(machines) > 1:
            raise cluster.refuse(
                "step_times", f"one table, but {len(machines)} kinds or healths of instances"
            )
        return measured(cluster.step_times), index, 0.0
    rules = laid.rules
    batch = min(rules.max_batch, summary.count)
    longest = summary.longest_total
    tokens = max(min(rules.max_batch_tokens, longest * batch), longest) + batch
    grids = Grids.up_to(tokens, batch, longest)
    tables = tabulate(model, machines, grids)
    return tables, index, max(probe(model, m, tables, k) for k, (m, _) in enumerate(machines))


def _begin(
    cluster: Cluster,
    model: Model,
    laid: Plan,
    health: list[Stage],
    index: list[int],
    first_s: float,
) -> State:
    block = cluster.batching.block_tokens * model.kv_bytes_per_token
    blocks = [int(stage.health.kv_bytes / block) for stage in health]
    instances = np.zeros(len(laid.instances), INSTANCE)
    for i, one in enumerate(laid.instances):
        instances[i]["role"], instances[i]["devices"] = one.role, one.kv_devices
        instances[i]["table"], instances[i]["blocks"] = index[i], blocks[i]
    later = events(health, index, blocks, first_s)
    return new_state(instances, later, laid.rules.max_batch, bins.BINS)


def _play(
    state: State,
    arguments: tuple[Any, Tables],
    source: Source,
    summary: Summary,
    rate_scale: float,
    store: Memory | Store,
    tally: Tally,
    progress: Progress | None,
) -> State:
    """Feed the kernel until all is served; what finishes goes to the store."""
    kept = store.restore()
    taken = 0  # requests handed to the kernel
    if kept is not None:
        state = State(*(kept[name] for name in State._fields))
        tally.restore(kept)
        taken = int(kept["taken"])
    pieces = replay(source, summary.first_s, rate_scale, taken)
    arrivals, is_last = _next(pieces, taken, summary.count)
    while True:
        status = kernel.advance(*arguments, state, arrivals, is_last)
        if status == kernel.NEED_SLOTS:
            state = with_more_slots(state)
            continue
        _drain(state, store, tally)
        if progress:
            progress(int(tally.counts[0]), summary.count)
        done = taken + int(state.g["next_arrival"][0])
        if status == kernel.NEED_ARRIVALS:
            taken += len(arrivals)
            arrivals, is_last = _next(pieces, taken, summary.count)
            state.g["next_arrival"] = 0
            done = taken
        more = tally.arrays() | {"taken": np.array(done)}
        if status == kernel.DONE:
            store.checkpoint(state, more, force=True)
            return state
        at_start = int(state.g["next_arrival"][0])
        state.g["next_arrival"] = 0  # as one that begins with the request at ``done`` will see it
        store.checkpoint(state, more)
        state.g["next_arrival"] = at_start


def _next(
    pieces: Iterator[NDArray[np.void]], taken: int, count: int
) -> tuple[NDArray[np.void], bool]:
    arrivals = next(pieces, np.zeros(0, ARRIVAL))
    return arrivals, taken + len(arrivals) >= count


def _drain(state: State, store: Memory | Store, tally: Tally) -> None:
    rows = state.finished[: int(state.g["finished"][0])]
    tally.add(rows)
    store.write(rows)
    state.g["finished"] = 0
