"""Timelines as a file that trace viewers open (Perfetto, chrome://tracing).

One track a queue, one slice an instruction, and a track that names the units; an arrow from the
instruction that gives a token to the one that takes it. Format: the JSON of the Trace Event Format,
complete events ("X") and flows ("s", "f") with microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from plait.errors import SpecError
from plait.files import write_atomically
from plait.sim.compiler.instruction import MiscOperation, Path, Program, Queue
from plait.sim.timeline.engine import Timeline

__all__ = ["LARGEST_TRACE", "Span", "write_trace"]

LARGEST_TRACE = 2_000_000
"""Instructions that a viewer still opens."""

_MICROSECONDS = 1e6
_NANOSECOND = 1e-3
_UNITS_TRACK = len(Queue)


@dataclass(frozen=True, slots=True)
class Span:
    """One run of a unit.

    Attributes:
        name: of the unit.
        count: runs in the step, of which this is one.
        timeline: in seconds from the unit's begin.
    """

    name: str
    count: int
    timeline: Timeline


def write_trace(path: str | FilePath, spans: Sequence[Span], title: str) -> FilePath:
    """Write units one after the other; the file appears whole or not at all.

    Args:
        path: a .json file.
        spans: in their order.
        title: name of the process in the viewer.
    """
    size = sum(len(span.timeline.program) for span in spans)
    if size > LARGEST_TRACE:
        raise SpecError(
            "too many instructions for a trace", where=str(path), got=size,
            expected=f"at most {LARGEST_TRACE:,}", hint="a shorter context",
        )  # fmt: skip
    with write_atomically(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ns","traceEvents":[\n')
        for index, event in enumerate(_events(spans, title)):
            file.write((",\n" if index else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")
    return FilePath(path)


def _events(spans: Sequence[Span], title: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": title}}
    names = [*(queue.name for queue in Queue), "unit"]
    for track, name in enumerate(names):
        yield {"ph": "M", "pid": 0, "tid": track, "name": "thread_name", "args": {"name": name}}
        order = {"sort_index": (track + 1) % len(names)}  # units above the queues
        yield {"ph": "M", "pid": 0, "tid": track, "name": "thread_sort_index", "args": order}
    begin, flow = 0.0, 0
    for span in spans:
        total = span.timeline.total
        runs = {"runs in the step": span.count}
        yield _slice(_UNITS_TRACK, span.name, begin, begin + total, runs)
        yield from _instructions(span.timeline, begin)
        for giver, taker in _tokens(span.timeline.program):
            yield from _arrow(span.timeline, giver, taker, begin, flow)
            flow += 1
        begin += total


def _instructions(line: Timeline, begin: float) -> Iterator[dict[str, Any]]:
    """The instructions in the order in which they start; equal starts in program order."""
    program = line.program
    for index in np.argsort(line.starts, kind="stable").tolist():
        one = program.instruction(index)
        arguments: dict[str, Any] = {"instruction": index}
        if one.path != Path.NONE:
            arguments |= {"bytes": one.work, "path": one.path.name.lower()}
        elif one.k_blocks:
            arguments |= {"K blocks": one.k_blocks}
        waits = [queue.name for queue in Queue if one.wait >> queue & 1]
        gives = [queue.name for queue in Queue if one.release >> queue & 1]
        arguments |= {"waits for": ", ".join(waits), "releases": ", ".join(gives)}
        name = one.queue.name
        if one.queue == Queue.MISC:
            name = MiscOperation(one.operation).name.lower()
        yield _slice(
            int(one.queue), name, begin + float(line.starts[index]),
            begin + float(line.ends[index]), arguments,
        )  # fmt: skip


def _tokens(program: Program) -> Iterator[tuple[int, int]]:
    """Instructions that give and take each token: of a pair of queues the oldest is taken first."""
    queues = program["queue"]
    for giver in Queue:
        for taker in Queue:
            gives = (queues == giver) & (program["release"] >> taker & 1 == 1)
            takes = (queues == taker) & (program["wait"] >> giver & 1 == 1)
            yield from zip(
                np.flatnonzero(gives).tolist(), np.flatnonzero(takes).tolist(), strict=True
            )


def _arrow(
    line: Timeline, giver: int, taker: int, begin: float, flow: int
) -> Iterator[dict[str, Any]]:
    """Both ends lie within their slices: that is how a viewer finds them."""
    queues = line.program["queue"]
    start, end = (begin + float(times[giver]) for times in (line.starts, line.ends))
    common = {"pid": 0, "name": "token", "cat": "token", "id": flow}
    ts = max(start * _MICROSECONDS, end * _MICROSECONDS - _NANOSECOND)
    yield {"ph": "s", "tid": int(queues[giver]), "ts": ts, **common}
    ts = (begin + float(line.starts[taker])) * _MICROSECONDS
    yield {"ph": "f", "bp": "e", "tid": int(queues[taker]), "ts": ts, **common}


def _slice(track: int, name: str, start: float, end: float, args: dict[str, Any]) -> dict[str, Any]:
    ts, until = start * _MICROSECONDS, end * _MICROSECONDS
    return {
        "ph": "X", "pid": 0, "tid": track, "name": name, "ts": ts, "dur": until - ts, "args": args,
    }  # fmt: skip
