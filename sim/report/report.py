"""Report: one table, a row an op, and the views of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plait.files import write_atomically
from plait.sim.report.roof import Roof

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from plait.models.graph.workload import Workload
    from plait.sim.families.breakdown import Breakdown
    from plait.sim.spec.base import Accelerator

__all__ = ["Report"]

_TRAFFIC = ("weight_bytes", "activation_bytes", "kv_bytes")
_ENERGY = "_pj"


@dataclass(frozen=True)
class Report:
    """What one step of a model costs on a machine.

    Attributes:
        model, accelerator, phase, context, batch, fidelity: what was run.
        table: a row an op, everything times its repeat count: op, kind, count, cycles (clocked
            machines), seconds, bound ("compute", "memory", "network" or ""), the rungs, operations,
            bytes by use and together, energy by part in pJ.
        totals: the same for the whole step, as in the JSON.
        rungs: names of the columns that add up to an op's time (cycles if clocked, else seconds).
        roofs: what the machine could reach at best with the formats of this run.
        rewrites: how the model was changed: rewrite, changes_outputs, effect.
    """

    model: str
    accelerator: str
    phase: str
    context: int
    batch: int
    fidelity: str
    table: pd.DataFrame
    totals: dict[str, Any]
    rungs: tuple[str, ...]
    roofs: tuple[Roof, ...] = ()
    rewrites: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(
        cls, workload: Workload, machine: Accelerator, fidelity: str, breakdown: Breakdown
    ) -> Report:
        """Lay a family's Breakdown out as a table with totals."""
        table = _table(workload, breakdown)
        return cls(
            model=workload.model,
            accelerator=machine.name,
            phase=workload.phase,
            context=workload.context,
            batch=workload.batch,
            fidelity=fidelity,
            table=table,
            totals=_totals(table, breakdown),
            rungs=tuple(breakdown.rungs),
            roofs=tuple(Roof(*roof) for roof in breakdown.roofs),
        )

    def with_rewrites(self, rewrites: Sequence[dict[str, Any]], context: int) -> Report:
        """Give the same, saying how the model was changed; ``context`` is what was asked for."""
        if not rewrites:
            return self
        return dataclasses.replace(self, rewrites=tuple(rewrites), context=context)

    @property
    def cycles(self) -> int | None:
        """Clock cycles; None for a machine without a clock."""
        return self.totals.get("cycles")

    @property
    def seconds(self) -> float:
        """Time of the step."""
        return float(self.totals["seconds"])

    @property
    def energy_joules(self) -> float | None:
        """Energy of the step; None where the machine's description has no energy."""
        energy = self.totals.get("energy_pj")
        return None if energy is None else float(energy["total"]) * 1e-12

    @property
    def operations(self) -> int | float:
        """Operations of the step; a multiply-add is two."""
        count: int | float = self.totals["operations"]
        return count

    @property
    def bytes(self) -> int | float:
        """Off-chip traffic of the step."""
        count: int | float = self.totals["bytes"]
        return count

    def to_dict(self) -> dict[str, Any]:
        """Give the document of `to_json` as plain dicts, lists and numbers."""
        names = ("model", "accelerator", "phase", "context", "batch", "fidelity")
        rows = self.table.to_dict("records")
        return {
            **{name: getattr(self, name) for name in names},
            **({"rewrites": list(self.rewrites)} if self.rewrites else {}),
            "totals": self.totals,
            "rows": rows,
        }

    def to_json(self) -> str:
        """Give everything as one JSON document; a key without meaning is absent."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV; the file appears whole or not at all."""
        with write_atomically(path) as temporary:
            self.table.to_csv(temporary, index=False)
        return Path(path)

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained page."""
        from plait.sim.report.page import write_page

        return write_page(self, path)

    def roofline(self) -> Figure:
        """Draw the ops under the machine's roofs."""
        from plait.sim.report import plot

        return plot.roofline(self)

    def breakdown(self) -> Figure:
        """Draw time by cause."""
        from plait.sim.report import plot

        return plot.breakdown(self)

    def __str__(self) -> str:
        from plait.sim.report.table import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from plait.sim.report.table import as_html

        return as_html(self)


def _table(workload: Workload, breakdown: Breakdown) -> pd.DataFrame:
    c = workload.columns
    columns = {name: _whole(values) for name, values in breakdown.columns.items()}
    frame: dict[str, Any] = {name: c[name] for name in ("op", "kind", "count")}
    if breakdown.unit == "cycles":
        frame["cycles"] = breakdown.time
    frame |= {"seconds": breakdown.seconds, "bound": breakdown.bound, **breakdown.rungs}
    energy = {n: columns.pop(n).astype(float) for n in list(columns) if n.endswith(_ENERGY)}
    frame |= columns
    frame["bytes"] = sum(columns[name] for name in _TRAFFIC)
    if energy:
        frame |= {**energy, "total_pj": sum(energy.values())}
    return pd.DataFrame(frame)


def _totals(table: pd.DataFrame, breakdown: Breakdown) -> dict[str, Any]:
    """Sums over the ops; a time is the sum of its rungs' sums."""
    counted = table.drop(columns=["op", "kind", "count", "bound"])
    sums = {str(name): column.to_numpy().sum().item() for name, column in counted.items()}
    rungs = {name: sums[name] for name in breakdown.rungs}
    time = sum(rungs.values())
    totals: dict[str, Any] = {"cycles": time} if breakdown.unit == "cycles" else {}
    totals["seconds"] = time / breakdown.clock_hz if breakdown.clock_hz else time
    wanted = ("operations", "bytes", *_TRAFFIC, "compute_cycles", "dram_cycles")
    totals |= {name: sums[name] for name in wanted if name in sums}
    whole = {name: _whole(np.array([v])).tolist()[0] for name, v in breakdown.totals.items()}
    totals |= _nested(whole)
    totals["rungs"] = rungs
    energy = {n.removesuffix(_ENERGY): v for n, v in sums.items() if n.endswith(_ENERGY)}
    return totals | ({"energy_pj": energy} if energy else {})


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Make "units.ld.seconds" a key of a mapping in a mapping."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, leaf = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Make floats that are all whole numbers integers, as far as a float holds these exactly."""
    is_whole = values == np.floor(values)
    return values.astype(np.int64) if (is_whole & (abs(values) < 2.0**53)).all() else values
