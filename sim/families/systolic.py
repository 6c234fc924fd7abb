"""Family systolic: a plain array of multiply-adds, to compare the bit-serial array with.

``published`` is SCALE-Sim v3's count: weight stationary, K along the rows and N along the columns,
M rows of activations streamed through, weights loaded before every fold. ``closed_form`` adds the
memory port, each operand moved once, and the decode units of compressed weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.families.decode_units import Decoding, decoding, refuse_units
from plait.sim.families.matmuls import Matmuls

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.systolic import Systolic

__all__ = ["FIDELITIES", "cycles", "rungs"]

Integers = NDArray[np.int64]


def cycles(
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    rows: ArrayLike = 128,
    columns: ArrayLike = 128,
    dataflow: str = "weight_stationary",
    double_buffered: bool = False,
) -> Integers:
    """Count the cycles of m x n x k products; arguments as in `rungs`.

    >>> int(cycles(256, 256, 256))  # SCALE-Sim v3
    2551
    """
    ladder = rungs(m, n, k, rows, columns, dataflow, double_buffered)
    return np.asarray(sum(ladder.values()))


def rungs(
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    rows: ArrayLike,
    columns: ArrayLike,
    dataflow: str = "weight_stationary",
    double_buffered: bool = False,
) -> dict[str, Integers]:
    """Count m x n x k products on rows x columns multiply-adds, by cause.

    Args:
        m, n, k: rows of activations, outputs, inputs.
        rows, columns: of the array.
        dataflow: weight_stationary, or output_stationary (m along the rows, k streamed; results
            are shifted out after every fold).
        double_buffered: the next fold's weights load while this one computes.
    """
    m, n, k, rows, columns = (np.asarray(v, dtype=np.int64) for v in (m, n, k, rows, columns))
    on_rows, streamed = (k, m) if dataflow == "weight_stationary" else (m, k)
    folds = -(-on_rows // rows) * -(-n // columns)
    computing = folds * streamed
    ideal = -(-(m * n * k) // (rows * columns))
    shifted = np.ones_like(folds) if double_buffered else folds
    moved = shifted * rows - 1  # as SCALE-Sim counts: cycle 0 already moves
    names = ("weight_load",) if dataflow == "weight_stationary" else ("drain",)
    return {
        "ideal": ideal,
        "edge_waste": computing - ideal,
        "fill": folds * (rows + columns - 2),
        names[0]: moved,
    }


def _cost(with_memory: bool, workload: Workload, machine: Systolic) -> Breakdown:
    matmuls = Matmuls.of(workload, by_sequence=False)
    matmuls.check_size(2.0)
    decoded = None
    if with_memory:
        decoded = decoding(workload, machine, passes=_passes(workload, machine))
    else:
        refuse_units(workload, machine.name, "SCALE-Sim")
    ladder = _ladder(matmuls, machine)
    if decoded is not None and decoded.on_trees.any():
        ladder = _on_trees(ladder, matmuls, machine, decoded)
    moved = _moved_bytes(matmuls)
    compute = sum(ladder.values())
    memory = -(-8 * sum(moved.values()) // machine.memory.port_bits_per_cycle)
    if with_memory:
        ladder["memory_stall"] = np.maximum(memory - compute, 0)

    def by_row(values: Any) -> NDArray[Any]:
        return matmuls.sum_by_row(values * matmuls.count, len(workload))

    is_bound = by_row(compute) > 0
    waits = with_memory & (by_row(memory) > by_row(compute))
    by_cause = {name: by_row(values) for name, values in ladder.items()}
    totals = {"memory_bytes": weight_and_kv_bytes(workload)}
    if decoded is not None and decoded.works:
        longer = matmuls.sum_by_row(np.maximum(compute, memory), len(workload))
        waiting = np.ceil(decoded.rung(longer)).astype(np.int64)
        by_cause["decode"] = waiting * workload.columns["count"].astype(np.int64)
        totals |= decoded.totals(workload, machine.decode_units)
    return Breakdown(
        unit="cycles",
        rungs=by_cause,
        bound=np.where(is_bound, np.where(waits, "memory", "compute"), "").astype(object),
        columns={
            "operations": matmuls.sum_by_row(matmuls.operations, len(workload)),
            "compute_cycles": by_row(compute),
            "dram_cycles": by_row(memory),
            **{name: by_row(values) for name, values in moved.items()},
        },
        totals=totals,
        clock_hz=machine.clock_hz,
        roofs=(_roof(machine),),
    )


def _ladder(matmuls: Matmuls, machine: Systolic) -> dict[str, Integers]:
    each = rungs(
        matmuls.tokens,
        matmuls.outputs,
        matmuls.inputs,
        machine.array.rows,
        machine.array.columns,
        machine.dataflow,
        machine.double_buffered_weights,
    )
    return {name: values * matmuls.batch for name, values in each.items()}


def _passes(workload: Workload, machine: Systolic) -> NDArray[np.float64]:
    """How often weights stream in: once, or with every fold of output-stationary token rows."""
    tokens = workload.columns["tokens"]
    if machine.dataflow == "weight_stationary":
        return np.ones(len(tokens))
    return np.ceil(tokens / machine.array.rows)


def _on_trees(
    ladder: dict[str, Integers], matmuls: Matmuls, machine: Systolic, decoded: Decoding
) -> dict[str, Integers]:
    """Exchange the array's cycles for the trit trees' where these do the sums."""
    trees = machine.decode_units.trit_tree
    assert trees is not None
    here = decoded.on_trees[matmuls.row] & matmuls.is_linear
    products = matmuls.operations // (2 * matmuls.count)
    ideal = -(-products // (trees.trees * trees.inputs))
    taken = np.ceil(decoded.streamed_cycles[matmuls.row]).astype(np.int64)
    exchanged = {name: np.where(here, 0, values) for name, values in ladder.items()}
    exchanged["ideal"] = np.where(here, ideal, ladder["ideal"])
    exchanged["edge_waste"] = np.where(here, taken - ideal, ladder["edge_waste"])
    return exchanged


def _moved_bytes(matmuls: Matmuls) -> dict[str, Integers]:
    """Every operand once; the weights of an attention are keys and values."""
    copies = np.where(matmuls.own_weights, matmuls.batch, 1)
    row_bytes = np.ceil(matmuls.inputs * matmuls.weight_bits / 8).astype(np.int64)
    weights = row_bytes * matmuls.outputs
    values = matmuls.tokens * (matmuls.inputs + matmuls.outputs) * matmuls.batch
    return {
        "weight_bytes": np.where(matmuls.is_linear, weights * copies, 0),
        "activation_bytes": np.ceil(values * matmuls.activation_bits / 8).astype(np.int64),
        "kv_bytes": np.where(matmuls.is_linear, 0, weights * copies),
    }


def _roof(machine: Systolic) -> tuple[str, float, float]:
    peak = 2.0 * machine.array.rows * machine.array.columns * machine.clock_hz
    return machine.name, peak, machine.memory.port_bits_per_cycle / 8 * machine.clock_hz


FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": functools.partial(_cost, False),
    "closed_form": functools.partial(_cost, True),
}
