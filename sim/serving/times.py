"""Times of a step on grids, from any family of plait.sim.families or from a measured table.

A simulation needs the times of millions of steps, a family answers in milliseconds: so it is asked
on grids of batch, context and prompt, and lines are drawn between; `probe` measures the error.

A step is split into attention and the rest, so that a step with a part of a prompt beside decoding
requests can be put together: the rest for all of its tokens as prefill, attention for each part.
A machine of family offload is asked for its pools instead, and its batches in flight are put
together by its own formula (`plait.sim.families.offload_rotation.cycle`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.families.base import cost
from plait.sim.families.offload_rotation import cycle
from plait.sim.serving._state import Tables
from plait.sim.spec.offload import Offload

if TYPE_CHECKING:
    from plait.models.graph.graph import Graph
    from plait.sim.spec.base import Accelerator

__all__ = ["Grids", "Model", "measured", "probe", "tabulate"]

Floats = NDArray[np.float64]
_FINE, _COARSE = 1.1, 3.0
_TOLERANCE = 5e-4  # of a step: where it is met no point is added between
_PROBES = 12


@dataclass(frozen=True)
class Model:
    """A model in its number formats, and what of it stays in memory.

    Attributes:
        weight_bytes: of one copy.
        kv_bytes_per_token: keys and values of all layers.
        layers: attention ops of a step.
        kv_heads: fewest of an attention op.
        width, heads: of the queries of one token and layer.
        activation_bytes: of one value.
    """

    graph: Graph
    formats: Any
    weight_bytes: float
    kv_bytes_per_token: float
    layers: int
    kv_heads: int
    width: int
    heads: int
    activation_bytes: float

    @classmethod
    def of(cls, graph: Graph, formats: Any) -> Model:
        """Take the sizes from a workload of one token."""
        c = graph.bind("decode", 1, 1, formats).columns
        rows = c["kind"] == "attention"
        if not rows.any():
            raise SpecError("no attention, so no KV cache to serve from", where=graph.name)
        count, head_dim = c["count"][rows], c["head_dim"][rows]
        values = 2 * count * c["kv_heads"][rows] * head_dim
        return cls(
            graph,
            formats,
            weight_bytes=float((c["count"] * c["parameters"] * c["weight_bits"] / 8).sum()),
            kv_bytes_per_token=float((values * c["kv_bits"][rows] / 8).sum()),
            layers=int(count.sum()),
            kv_heads=int(c["kv_heads"][rows].min()),
            width=int((c["heads"][rows] * head_dim).max()),
            heads=int(c["heads"][rows].max()),
            activation_bytes=float(c["activation_bits"][rows].max() / 8),
        )

    def step(self, machine: Accelerator, phase: str, batch: int, context: int) -> _Step:
        """Cost one step: seconds of attention, of the rest, and the family's own totals."""
        preset = machine.formats.resolve(self.graph.name, phase)  # type: ignore[arg-type]
        workload = self.graph.bind(phase, batch, context, self.formats, defaults=preset or None)
        breakdown = cost(workload, machine)
        is_attention = workload.columns["kind"] == "attention"
        seconds = breakdown.seconds
        return _Step(
            float(seconds[is_attention].sum()),
            float(seconds[~is_attention].sum()),
            dict(breakdown.totals),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    attention_s: float
    other_s: float
    totals: dict[str, float]


@dataclass(frozen=True, slots=True)
class Grids:
    """Where the families are asked: whole numbers, each ratio of neighbours below a tenth or so.

    Attributes:
        tokens: of an iteration with prefill, and lengths of prompts.
        batch: decoding requests.
        context: their mean.
    """

    tokens: Floats
    batch: Floats
    context: Floats

    @classmethod
    def up_to(cls, tokens: int, batch: int, context: int) -> Grids:
        """Cover these sizes; beyond them the last line goes on."""
        return cls(_grid(tokens, _FINE), _grid(batch, _FINE), _grid(context, _FINE))


def _grid(largest: int, ratio: float) -> Floats:
    """Whole numbers from 1 on, at most ``ratio`` apart or neighbours; two at least."""
    points, x = [1], 1.0
    while points[-1] < largest:
        x = max(points[-1] + 1, points[-1] * ratio)
        points.append(int(x))
    points[-1] = max(min(points[-1], largest), 2) if len(points) > 1 else 1
    return np.array(points if len(points) > 1 else [1, 2], dtype=np.float64)


def _coarse(grid: Floats) -> Floats:
    """Every so many points of a grid, its ends included."""
    chosen = [grid[0]]
    for x in grid[1:-1]:
        if x >= chosen[-1] * _COARSE and x * _COARSE <= grid[-1]:
            chosen.append(x)
    return np.array([*chosen, grid[-1]])


def tabulate(
    model: Model,
    machines: Sequence[tuple[Accelerator, Accelerator | None]],
    grids: Grids,
    progress: Callable[[int, int], None] | None = None,
) -> Tables:
    """Ask for every machine's times on the grids.

    Args:
        model: what runs.
        machines: (decodes, prefills) by health; prefills None: prompts take no time here.
        grids: common to all.
        progress: called with the machines done and machines in all.
    """
    decode, prefill = [], []
    for k, (decoder, prefiller) in enumerate(machines):
        if isinstance(decoder, Offload):
            decode.append(_offload_decode(model, decoder, grids))
        else:
            decode.append(_decode(model, decoder, grids))
        prefill.append(_prefill(model, prefiller, grids))
        if progress:
            progress(k + 1, len(machines))
    return Tables(
        tokens=grids.tokens,
        prefill_other=np.array([other for other, _ in prefill]),
        lengths=grids.tokens,
        prefill_attention=np.array([attention for _, attention in prefill]),
        batch=grids.batch,
        context=grids.context,
        decode_other=np.array([other for other, _ in decode]),
        decode_attention=np.array([attention for _, attention in decode]),
    )


def _prefill(model: Model, machine: Accelerator | None, grids: Grids) -> tuple[Floats, Floats]:
    if machine is None:
        nothing = np.zeros_like(grids.tokens)
        return nothing, nothing

    def ask(tokens: int) -> tuple[float, float]:
        step = model.step(machine, "prefill", 1, tokens)
        return step.other_s, step.attention_s

    other, attention = _sample(ask, grids.tokens)
    return other, attention


def _decode(model: Model, machine: Accelerator, grids: Grids) -> tuple[Floats, Floats]:
    rows, columns = _coarse(grids.batch), _coarse(grids.context)
    attention = [
        [model.step(machine, "decode", int(b), int(c)).attention_s for c in columns] for b in rows
    ]
    (others,) = _sample(lambda b: (model.step(machine, "decode", b, 1).other_s,), grids.batch)
    return others, _refine(np.array(attention), rows, columns, grids)


def _offload_decode(model: Model, machine: Offload, grids: Grids) -> tuple[Floats, Floats]:
    """Whole steps, with all the batches in flight that a number of requests makes."""
    in_flight = machine.pipelining.batches_in_flight
    alone = machine.with_(**{"pipelining.batches_in_flight": 1})
    rows, columns = _coarse(grids.batch), _coarse(grids.context)
    totals = [[model.step(alone, "decode", int(b), int(c)).totals for c in columns] for b in rows]

    def refined(name: str) -> Floats:
        return _refine(
            np.array([[t.get(name, 0.0) for t in row] for row in totals]), rows, columns, grids
        )

    def ask(batch: int) -> tuple[float]:
        return (model.step(alone, "decode", batch, 1).totals["non_attention_seconds"],)

    (outside,) = _sample(ask, grids.batch)
    attention = refined("attention_seconds")
    rest = refined("network_seconds") - refined("hidden_seconds")
    whole = np.empty_like(attention)
    for k, batch in enumerate(grids.batch):
        n = int(min(in_flight, batch))
        each = batch / n
        tm = np.interp(each, grids.batch, outside)
        for j in range(len(grids.context)):
            ta, tr = (np.interp(each, grids.batch, v[:, j]) for v in (attention, rest))
            whole[k, j] = cycle(n, tm, ta, tr)
    return np.zeros_like(outside), whole


def _sample(ask: Callable[[int], tuple[float, ...]], grid: Floats) -> Floats:
    """Know a function on a grid, [values, points], asking only where a line is not good enough.

    An interval is cut in two as long as the value in its middle is off the line between its ends.
    """
    known: dict[int, Floats] = {}

    def at(k: int) -> Floats:
        if k not in known:
            known[k] = np.array(ask(int(grid[k])))
        return known[k]

    ends = np.searchsorted(grid, _coarse(grid))
    intervals = [(int(a), int(b)) for a, b in itertools.pairwise(ends)]
    at(0), at(len(grid) - 1)
    while intervals:
        a, b = intervals.pop()
        if b - a < 2:
            at(a), at(b)
            continue
        middle = (a + b) // 2
        line = at(a) + (at(b) - at(a)) * (grid[middle] - grid[a]) / (grid[b] - grid[a])
        if np.abs(at(middle) - line).max() > _TOLERANCE * at(middle).sum():
            intervals += [(a, middle), (middle, b)]
    points = sorted(known)
    values = np.array([known[k] for k in points])
    return np.array([np.interp(grid, grid[points], column) for column in values.T])


def _refine(values: Floats, rows: Floats, columns: Floats, grids: Grids) -> Floats:
    """Draw planes between the points of a coarse grid."""
    wide = np.array([np.interp(grids.context, columns, row) for row in values])
    return np.array([np.interp(grids.batch, rows, wide[:, j]) for j in range(wide.shape[1])]).T


def measured(path: str) -> Tables:
    """Read a table of measured times: columns phase, batch, context, seconds.

    Rows of phase prefill give the time of batch * context prompt tokens; rows of phase decode that
    of a step at every pair of their batches and contexts. Several rows of one case: their median.
    """
    where = str(path)
    try:
        frame = pd.read_csv(Path(path))
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be read: {error}", where=where) from None
    missing = [c for c in ("phase", "batch", "context", "seconds") if c not in frame]
    if missing:
        raise SpecError(
            f"no column {missing[0]}", where=where, expected="phase, batch, context, seconds"
        )
    for name in ("batch", "context", "seconds"):
        values = pd.to_numeric(frame[name], errors="coerce")
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise SpecError(
                "not a positive number", where=f"{where}: row {row + 1}: {name}",
                got=str(frame[name].iloc[row]),
            )  # fmt: skip
    prefill, decode = frame[frame.phase == "prefill"], frame[frame.phase == "decode"]
    if len(prefill) + len(decode) < len(frame) or prefill.empty or decode.empty:
        raise SpecError("bad phases", where=f"{where}: phase", expected="prefill and decode rows")
    by_tokens = prefill.groupby(prefill.batch * prefill.context)["seconds"].median()
    plane = decode.pivot_table(index="batch", columns="context", values="seconds", aggfunc="median")
    if plane.isna().to_numpy().any():
        raise SpecError(
            "decode rows leave holes", where=where, expected="a row for every batch and context"
        )
    tokens = by_tokens.index.to_numpy(np.float64)
    batch = plane.index.to_numpy(np.float64)
    return Tables(
        tokens=tokens,
        prefill_other=by_tokens.to_numpy(np.float64)[None],
        lengths=np.array([1.0]),
        prefill_attention=np.zeros((1, 1)),
        batch=batch,
        context=plane.columns.to_numpy(np.float64),
        decode_other=np.zeros((1, len(batch))),
        decode_attention=plane.to_numpy(np.float64)[None],
    )


def probe(model: Model, machine: Accelerator, tables: Tables, health: int) -> float:
    """Largest relative error of interpolation at some sizes between the points, decode."""
    draw = np.random.default_rng(0)
    worst = 0.0
    for _ in range(_PROBES):
        batch = int(np.exp(draw.uniform(0, np.log(tables.batch[-1]))))
        context = int(np.exp(draw.uniform(0, np.log(tables.context[-1]))))
        exact, drawn = _exact(model, machine, batch, context), decode_seconds(
            tables, health, batch, context
        )  # fmt: skip
        worst = max(worst, abs(drawn / exact - 1))
    return worst


def _exact(model: Model, machine: Accelerator, batch: int, context: int) -> float:
    if not isinstance(machine, Offload):
        step = model.step(machine, "decode", batch, context)
        return step.attention_s + step.other_s
    n = min(machine.pipelining.batches_in_flight, batch)
    machine = machine.with_(**{"pipelining.batches_in_flight": n})
    below, rest = divmod(batch, n)
    steps = [model.step(machine, "decode", b, context) for b in (below, below + 1)]
    seconds = [step.attention_s + step.other_s for step in steps]
    return seconds[0] + (seconds[1] - seconds[0]) * rest / n


def decode_seconds(tables: Tables, health: int, batch: float, context: float) -> float:
    """Seconds of a decode step as the kernel reads them off."""
    row = [np.interp(context, tables.context, v) for v in tables.decode_attention[health]]
    other = np.interp(batch, tables.batch, tables.decode_other[health])
    return float(other + np.interp(batch, tables.batch, row))
