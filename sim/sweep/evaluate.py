"""Costs of designs: numbers of a machine as arrays, everything else case by case."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.families.base import cost, family
from plait.sim.spec.load import load_accelerator
from plait.sim.sweep.space import FORMAT_KEYS, STEP_KEYS, Space, space_values

if TYPE_CHECKING:
    import pandas as pd

    from plait.models.graph.workload import Workload
    from plait.sim.spec.base import Accelerator

__all__ = ["Evaluator"]

Columns = dict[str, NDArray[Any]]
Extra = Mapping[str, Mapping[Any, Mapping[str, float]]]
_COLUMNS = ("cycles", "seconds", "energy_joules", "bytes", "area_mm2", "bound")
_CASES_KEPT = 256


class Evaluator:
    """Gives the frame of any stretch of a space's designs.

    A family may offer ``on_designs(workload, machine, varied, fidelity)``, and list the keys that
    it takes as arrays, ``array_keys(machine, phase)``. What it does not take is a case of its own:
    one model, machine, phase, batch, context and formats, bound once.
    """

    def __init__(self, space: Space) -> None:
        from plait.models.graph.load import load_graph

        self.space = space
        self._graph = functools.cache(load_graph)
        self._workload = functools.lru_cache(_CASES_KEPT)(self._bind)
        self._machine = functools.lru_cache(_CASES_KEPT)(self._describe)
        self.array_axes = self._array_axes()

    def load(self) -> None:
        """Load the graphs now: torch traces in one thread at a time."""
        for model in self.space.choices("model"):
            self._graph(model)

    def check(self, extra: Extra, objectives: Sequence[str] = ()) -> None:
        """Refuse a constraint or an objective that a machine has no answer to, before any work.

        A machine without an area leaves that column empty, and no comparison holds of an empty
        one: its designs would be left out without a word.
        """
        constraint = self.space.constraint
        asked = dict.fromkeys(objectives, "objectives")
        asked |= dict.fromkeys(sorted(constraint.columns) if constraint else (), "where")
        machines = self.space.choices("machine") if asked else []
        for place, machine in enumerate(machines):
            first = [np.array([place if a.key == "machine" else 0]) for a in self.space.axes]
            columns = self._columns(first, extra, 1)
            for name, where in asked.items():
                if name in _COLUMNS and name not in columns:
                    raise SpecError(
                        f"{load_accelerator(machine).name} has no {name}",
                        where=f"{self.space.source}: {where}",
                        expected=f"one of {', '.join(n for n in _COLUMNS if n in columns)}",
                    )
            if constraint:
                constraint.allows(columns, f"{self.space.source}: where")

    def frame(self, start: int, stop: int, extra: Extra | None = None) -> pd.DataFrame:
        """Cost designs start to stop of the space; rows that the constraint refuses are left out.

        Args:
            extra: columns to add by the value of an axis: axis -> value -> column -> number.

        Returns:
            A column an axis, then cycles, seconds, energy_joules, bytes, area_mm2 and bound, of
            which a machine that has no such thing leaves NaN, then the extra ones.
        """
        frame, allowed = self.chosen(self.space.digits(start, stop), extra or {}, stop - start)
        return frame if allowed.all() else frame[allowed].reset_index(drop=True)

    def chosen(
        self, digits: list[NDArray[np.int64]], extra: Extra, count: int | None = None
    ) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        """Cost the designs at these positions on the axes.

        Args:
            digits: positions, axes x [designs].
            count: number of designs, where there is no axis to tell.

        Returns:
            All rows, and which of them the constraint allows.
        """
        import pandas as pd

        count = len(digits[0]) if digits else count or 1
        columns = self._columns(digits, extra, count)
        constraint = self.space.constraint
        allowed = constraint.allows(columns) if constraint else np.ones(count, dtype=bool)
        return pd.DataFrame(columns), allowed

    def _columns(self, digits: list[NDArray[np.int64]], extra: Extra, count: int) -> Columns:
        columns: Columns = {}
        added: Columns = {}
        for axis, digit in zip(self.space.axes, digits, strict=True):
            columns[axis.key] = np.asarray(axis.values)[digit]
            by_value = extra.get(axis.key, {})
            for name in dict.fromkeys(n for told in by_value.values() for n in told):
                told = [by_value.get(v, {}).get(name, np.nan) for v in space_values(axis)]
                added[name] = np.array(told)[digit]
        return columns | self._costs(digits, count) | added

    def _costs(self, digits: list[NDArray[np.int64]], count: int) -> Columns:
        """Group the designs by case, cost each group at once, put the rows back in order."""
        axes = self.space.axes
        outer = [i for i in range(len(axes)) if i not in self.array_axes]
        shape = tuple(len(axes[i]) for i in outer)
        case = (
            np.ravel_multi_index([digits[i] for i in outer], shape)
            if outer
            else np.zeros(count, dtype=np.int64)
        )
        groups, results = [], []
        for number in np.unique(case):
            rows = np.flatnonzero(case == number)
            chosen = np.unravel_index(number, shape) if outer else ()
            named = {
                axes[i].key: space_values(axes[i])[int(position)]
                for i, position in zip(outer, chosen, strict=True)
            }
            arrays = {
                axes[i].key: np.asarray(axes[i].values)[digits[i][rows]] for i in self.array_axes
            }
            groups.append(rows)
            results.append(self._case(named, arrays, len(rows)))
        order = np.argsort(np.concatenate(groups), kind="stable")
        return {name: _stacked(name, results, groups)[order] for name in _found(results)}

    def _case(self, named: dict[str, Any], arrays: dict[str, Any], rows: int) -> Columns:
        step = {**self.space.fixed, **named}
        formats = {k: v for k, v in named.items() if k in FORMAT_KEYS}
        others = tuple((k, v) for k, v in named.items() if k not in (*STEP_KEYS, *formats))
        machine = self._machine(step["machine"], others)
        workload = self._workload(
            step["model"], step["machine"], step["phase"], step["batch"], step["context"],
            tuple(sorted(formats.items())),
        )  # fmt: skip
        on_designs = family(machine.family).on_designs
        if on_designs is not None:
            found = on_designs(workload, machine, arrays, step["fidelity"])
        else:
            found = _totals(workload, machine, step["fidelity"])
        return {name: np.broadcast_to(values, (rows,)) for name, values in found.items()}

    def _describe(self, name: Any, changes: tuple[tuple[str, Any], ...]) -> Accelerator:
        return load_accelerator(name).with_(**dict(changes))

    def _bind(
        self,
        model: Any,
        machine: Any,
        phase: str,
        batch: int,
        context: int,
        formats: tuple[Any, ...],
    ) -> Workload:
        graph = self._graph(model)
        defaults = load_accelerator(machine).formats.resolve(graph.name, phase)  # type: ignore[arg-type]
        own = self.space.fixed["formats"]
        if formats:
            named = {key.removeprefix("formats."): value for key, value in formats}
            own = {**(own if isinstance(own, Mapping) else {}), **named}
        return graph.bind(phase, int(batch), int(context), own, defaults=defaults or None)

    def _array_axes(self) -> list[int]:
        """Axes that every machine of the space takes as an array of numbers."""
        keys: set[str] | None = None
        for name in self.space.choices("machine"):
            machine = load_accelerator(name)
            offered = family(machine.family).array_keys
            for phase in self.space.choices("phase"):
                taken = set(offered(machine, phase)) if offered else set()
                keys = taken if keys is None else keys & taken
        axes = enumerate(self.space.axes)
        return [i for i, axis in axes if axis.is_numeric and axis.key in (keys or ())]


def _found(results: list[Columns]) -> list[str]:
    """The columns that any case has, in their usual order."""
    return [name for name in _COLUMNS if any(name in result for result in results)]


def _stacked(name: str, results: list[Columns], groups: list[NDArray[np.int64]]) -> NDArray[Any]:
    """One column of all cases; a machine that has no such thing leaves NaN."""
    return np.concatenate(
        [
            result[name] if name in result else np.full(len(rows), np.nan)
            for result, rows in zip(results, groups, strict=True)
        ]
    )


def _totals(workload: Workload, machine: Accelerator, fidelity: str) -> dict[str, Any]:
    """One design by the family's own cost function."""
    from plait.sim.report.report import Report

    report = Report.of(workload, machine, fidelity, cost(workload, machine, fidelity))
    table = report.table
    longest = table.groupby("bound")["seconds"].sum() if "bound" in table else None
    found = {
        "cycles": report.totals.get("cycles"),
        "seconds": report.seconds,
        "energy_joules": report.totals.get("energy_pj", {}).get("total"),
        "bytes": report.totals.get("bytes"),
        "bound": longest.idxmax() if longest is not None and len(longest) else "",
    }
    if found["energy_joules"] is not None:
        found["energy_joules"] *= 1e-12
    return {name: value for name, value in found.items() if value is not None}
