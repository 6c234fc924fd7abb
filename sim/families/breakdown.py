"""Breakdown: time as a ladder of named rungs, beside operations, bytes and energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["Breakdown", "weight_and_kv_bytes"]

_LARGEST_EXACT = 2.0**62
_LARGEST_COUNTS = ("memory_bytes", "decode.area_mm2")  # of totals that do not add up over steps


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What a family says of every op of a workload; every array is [ops], times the repeat count.

    Attributes:
        unit: what the rungs count: cycles (integers) or seconds (floats).
        rungs: cause -> time spent for it. An op's time is defined as their sum.
        bound: what an op waits for: "compute", "memory", "network", "" if it takes no time.
        columns: operations, weight_bytes, activation_bytes, kv_bytes, <part>_pj, ...
        totals: figures of the whole step that are no sum over ops, such as memory_bytes.
        clock_hz: cycles a second, where the unit is cycles.
        roofs: (name, operations/s, bytes/s): what the machine could reach at best here.
    """

    unit: Literal["cycles", "seconds"]
    rungs: Mapping[str, NDArray[Any]]
    bound: NDArray[np.object_]
    columns: Mapping[str, NDArray[Any]]
    totals: Mapping[str, float] = field(default_factory=dict)
    clock_hz: float | None = None
    roofs: tuple[tuple[str, float, float], ...] = ()

    @property
    def time(self) -> NDArray[Any]:
        """Time of every op in `unit`: the rungs added in their order."""
        return sum(self.rungs.values())  # type: ignore[return-value]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Time of every op in seconds."""
        return self.time / self.clock_hz if self.clock_hz else self.time

    @classmethod
    def join(cls, parts: Sequence[Breakdown]) -> Breakdown:
        """Put steps that run one after the other together; memory is that of the largest."""
        if len(parts) == 1:
            return parts[0]

        def joined(tables: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
            names = dict.fromkeys(name for table in tables for name in table)
            absent = [np.zeros(len(part.bound)) for part in parts]
            return {
                name: np.concatenate(
                    [table.get(name, zero) for table, zero in zip(tables, absent, strict=True)]
                )
                for name in names
            }

        rungs, columns = joined([p.rungs for p in parts]), joined([p.columns for p in parts])
        if parts[0].unit == "cycles":
            rungs = {name: values.astype(np.int64) for name, values in rungs.items()}
        totals: dict[str, float] = {}
        for part in parts:
            for name, value in part.totals.items():
                before = totals.get(name, 0.0)
                totals[name] = max(before, value) if name in _LARGEST_COUNTS else before + value
        return cls(
            unit=parts[0].unit,
            rungs=rungs,
            bound=np.concatenate([part.bound for part in parts]),
            columns=columns,
            totals=totals,
            clock_hz=parts[0].clock_hz,
            roofs=tuple(dict.fromkeys(roof for part in parts for roof in part.roofs)),
        )

    def verify(self, workload: Workload) -> Breakdown:
        """Refuse figures that are not finite, negative, or beyond exact integers; return self."""
        for name, values in {**self.rungs, **self.columns}.items():
            bad = ~np.isfinite(values) | (values < 0) | (values > _LARGEST_EXACT)
            if bad.any():
                op = workload.columns["op"][int(np.argmax(bad))]
                raise SpecError(
                    f"{name} is out of range: this step is too large",
                    where=str(op),
                    got=float(values[int(np.argmax(bad))]),
                )
        return self


def weight_and_kv_bytes(workload: Workload) -> float:
    """Give the memory a step occupies: every stored weight, and the KV cache of its context."""
    c = workload.columns
    weights = c["count"] * c["parameters"] * c["weight_bits"] / 8
    cached = float(workload.batch) * c["cached"] * 2 * c["kv_heads"] * c["head_dim"]
    return float((weights + c["count"] * cached * c["kv_bits"] / 8).sum())
