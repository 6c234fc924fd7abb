"""Family bit_serial: bit-serial arrays (BitMoD) and the FP16, ANT and OliVe arrays beside them.

Two fidelities, one shape of arithmetic: a function of a multiplication's sizes and a machine's
parameters gives whole numbers (`published_matmul`, `matmul_cycles`); here they are applied to all
operations of a workload and to one machine (`FIDELITIES`) or to many at once (`totals`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError, unknown_name
from plait.sim.cost import dram, energy, sram
from plait.sim.families.bit_serial_cycles import MatmulCycles, matmul_cycles
from plait.sim.families.bit_serial_decoded import decoded_matmuls, decoding_of
from plait.sim.families.bit_serial_design import Design
from plait.sim.families.bit_serial_published import PublishedMatmul, published_matmul
from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.families.decode_units import area_mm2, refuse_units
from plait.sim.families.matmuls import Matmuls

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.base import Phase
    from plait.sim.spec.bit_serial import BitSerial

__all__ = [
    "FIDELITIES",
    "Design",
    "Matmuls",
    "array_keys",
    "cycles",
    "matmuls_of",
    "on_designs",
    "totals",
]

_PASSES = {  # how often the vector unit goes over the elements of an op
    "norm": 2,  # mean square, then scaling
    "attention": 3,  # softmax: maximum, exponential and sum, division
    "activation": 1,
    "elementwise": 1,
    "rope": 1,
    "topk": 2,
}


_OF_THE_ARRAY = ("busy_cycles", "steps")  # counts that cost no energy where trit trees do the sums


class _Model(NamedTuple):
    """One fidelity's arithmetic: the function, its ladder and how it sees a batch."""

    function: Callable[..., tuple[Any, ...]]
    fields: tuple[str, ...]
    rungs: tuple[str, ...]
    by_sequence: bool


def _model(function: Callable[..., Any], result: Any, by_sequence: bool) -> _Model:
    fields = result._fields
    return _Model(function, fields, fields[: fields.index("busy_cycles")], by_sequence)


_MODELS = {
    "published": _model(published_matmul, PublishedMatmul, by_sequence=True),
    "closed_form": _model(matmul_cycles, MatmulCycles, by_sequence=False),
}


def cycles(matmuls: Matmuls, design: Design, fidelity: str = "closed_form") -> NDArray[np.int64]:
    """Count the cycles of a step's multiplications on many designs at once.

    Args:
        matmuls: `matmuls_of` a workload, for this fidelity.
        design: parameters, arrays [designs].
        fidelity: published or closed_form.

    Returns:
        Cycles, [designs].
    """
    model = _named(fidelity)
    sums = _sums(model, matmuls, design)
    return sums[: len(model.rungs)].sum(axis=0)


def totals(
    matmuls: Matmuls, design: Design, fidelity: str = "closed_form"
) -> dict[str, NDArray[Any]]:
    """Cost a step's multiplications on many designs at once; arguments as in `cycles`.

    Returns:
        cycles, seconds, energy_joules, bytes, area_mm2 (PEs, weight and activation buffers) and
        is_memory_bound (the port is busy for more cycles than the array), each [designs].
    """
    model = _named(fidelity)
    sums = _sums(model, matmuls, design)
    named = dict(zip(model.fields, sums, strict=True))
    total = sums[: len(model.rungs)].sum(axis=0)
    buffers = _buffers(matmuls, design)
    pj = _energy_pj(named, design, buffers)
    moved = named["weight_bits_moved"] + named["activation_bits_moved"]
    return {
        "cycles": total,
        "seconds": total / design.clock_hz,
        "energy_joules": sum(pj.values()) * 1e-12,
        "bytes": moved // 8,
        "area_mm2": design.pes * design.pe_area_um2 * 1e-6 + buffers.area_mm2,
        "is_memory_bound": named["memory_cycles"] > named["busy_cycles"],
    }


def array_keys(machine: BitSerial, phase: Phase) -> list[str]:
    """List the keys of a description that `on_designs` takes as arrays."""
    return Design.keys(phase)


def on_designs(
    workload: Workload, machine: BitSerial, varied: Mapping[str, ArrayLike], fidelity: str
) -> dict[str, NDArray[Any]]:
    """Cost one step on many variants of a machine: the totals of `FIDELITIES`, and its area.

    Args:
        varied: values by dotted key, arrays [designs] within the schema's bounds.

    Returns:
        cycles, seconds, energy_joules, bytes, area_mm2 and bound (memory or compute), [designs].
    """
    refuse_units(workload, machine.name, "a sweep")
    design = Design.of(machine, workload.phase, **varied)  # type: ignore[arg-type]
    matmuls = matmuls_of(workload, fidelity, machine.formats.group_size)
    found = totals(matmuls, design, fidelity)
    units_mm2 = area_mm2(machine.decode_units)
    if units_mm2 is None:  # part of an area would pass for the whole
        del found["area_mm2"]
    else:
        found["area_mm2"] = found["area_mm2"] + units_mm2
    if fidelity == "closed_form" and design.vector_lanes.any():
        found["cycles"] = found["cycles"] + _vector_totals(workload, design.vector_lanes)
        found["seconds"] = found["cycles"] / design.clock_hz
    found["bound"] = np.where(found.pop("is_memory_bound"), "memory", "compute")
    return found


def matmuls_of(workload: Workload, fidelity: str = "closed_form", group_size: int = 128) -> Matmuls:
    """Collect the multiplications of a workload as this fidelity runs them.

    Args:
        group_size: weights that share a scale, where the workload gives bits alone.
    """
    return Matmuls.of(workload, _named(fidelity).by_sequence, group_size)


def _named(fidelity: str) -> _Model:
    if fidelity not in _MODELS:
        raise SpecError(unknown_name("fidelity", fidelity, _MODELS), where="fidelity")
    return _MODELS[fidelity]


# --- the arithmetic on many designs ---------------------------------------------------------

_DESIGN_ARGUMENTS = (
    "port_bits", "weight_buffer_bytes", "activation_buffer_bytes", "scale_buffer_bytes",
    "write_port_bits", "scale_bits",
)  # fmt: skip
_MATMUL_ARGUMENTS = (
    "inputs", "outputs", "tokens", "batch", "weight_bits", "code_bits", "group_size",
    "activation_bits", "own_weights",
)  # fmt: skip
_CHUNK = 8192  # designs whose intermediate arrays stay in the cache


def _arguments(matmuls: Matmuls, design: Design) -> list[NDArray[Any]]:
    """The arguments of a model's function, operations as [matmuls, 1]."""
    terms = matmuls.terms if design.is_serial else np.ones_like(matmuls.terms)
    return [
        *(getattr(design, name) for name in ("rows", "columns", "lanes")),
        terms[:, None],
        *(getattr(design, name) for name in _DESIGN_ARGUMENTS),
        *(getattr(matmuls, name)[:, None] for name in _MATMUL_ARGUMENTS),
    ]


def _sums(model: _Model, matmuls: Matmuls, design: Design) -> NDArray[np.int64]:
    """Every field of the model summed over the multiplications: [fields, designs]."""
    _check_size(matmuls, design)
    matmuls = matmuls.merged()
    arguments = _arguments(matmuls, design)
    first, group = _distinct([a for a in arguments if a.ndim == 1])
    arguments = [a[first] if a.ndim == 1 else a for a in arguments]
    parts = []
    for start in range(0, len(first), _CHUNK):
        chunk = [a[start : start + _CHUNK] if a.ndim == 1 else a for a in arguments]
        fields = np.broadcast_arrays(*model.function(*chunk))
        parts.append(np.stack([matmuls.count @ field for field in fields]))
    return np.concatenate(parts, axis=1)[:, group]


def _distinct(arrays: list[NDArray[np.int64]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first of every set of equal designs, and the set of each design.

    Designs of a sweep that differ in clock, energy or area only do the same in every cycle.
    """
    import pandas as pd

    group = np.zeros(len(arrays[0]), np.int64)
    for array in arrays:
        if array.strides != (0,):  # else one value for all
            numbers, values = pd.factorize(array)
            group, _ = pd.factorize(group * len(values) + numbers)
    first = np.zeros(int(group.max(initial=0)) + 1, np.intp)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return first, group


def _check_size(matmuls: Matmuls, design: Design) -> None:
    """Weights are read again for every column of tokens: the bits of that are the largest count."""
    terms, bits = matmuls.terms.max(initial=1), matmuls.weight_bits.max(initial=1)
    matmuls.check_size(max(2.0, float(terms), float(bits / design.columns.min())))


# --- one machine, op by op --------------------------------------------------------------------


def _cost(fidelity: str, workload: Workload, machine: BitSerial) -> Breakdown:
    model = _MODELS[fidelity]
    matmuls = matmuls_of(workload, fidelity, machine.formats.group_size)
    design = Design.of(machine, workload.phase)  # type: ignore[arg-type]
    _check_size(matmuls, design)
    rows = len(workload)
    fields = np.broadcast_arrays(*model.function(*_arguments(matmuls, design)))
    decoded = None
    if fidelity == "published":
        refuse_units(workload, machine.name, "the published simulator")
    else:
        decoded = decoding_of(workload, machine)
    if decoded is not None and decoded.works:
        fields = decoded_matmuls(MatmulCycles(*fields), matmuls, design, machine, decoded)
    by_row = {
        name: matmuls.sum_by_row(matmuls.count * values[:, 0], rows)
        for name, values in zip(model.fields, fields, strict=True)
    }
    rungs = {name: by_row[name] for name in model.rungs}
    operations = matmuls.sum_by_row(matmuls.operations, rows)
    energy_pj, totals = {}, {"memory_bytes": weight_and_kv_bytes(workload)}
    toggling = by_row
    if decoded is not None and decoded.works:
        count = np.maximum(workload.columns["count"], 1)
        rungs["decode"] = _whole(decoded.rung(sum(rungs.values()) / count) * count)
        totals |= decoded.totals(workload, machine.decode_units)
        if decoded.energy_pj is not None:
            energy_pj["decode_pj"] = decoded.energy_pj * count
        idle = {name: np.where(decoded.on_trees, 0, by_row[name]) for name in _OF_THE_ARRAY}
        toggling = by_row | idle
    if fidelity == "closed_form" and machine.vector.lanes:
        rungs["vector"] = _vector_cycles(workload, machine.vector.lanes)
    return Breakdown(
        unit="cycles",
        rungs=rungs,
        bound=_bound(by_row, rungs),
        columns={
            "operations": operations,
            "compute_cycles": by_row["busy_cycles"],
            "dram_cycles": by_row["memory_cycles"],
            **_bytes(workload, by_row),
            **_energy_columns(toggling, matmuls, design),
            **energy_pj,
        },
        totals=totals,
        clock_hz=machine.clock_hz,
        roofs=_roofs(matmuls, design, machine),
    )


def _whole(cycles: NDArray[np.float64]) -> NDArray[np.int64]:
    """A part of a cycle is a cycle."""
    return np.ceil(cycles).astype(np.int64)


def _bytes(workload: Workload, by_row: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Bytes through the port; what an attention streams as weights are keys and values."""
    is_attention = workload.columns["kind"] == "attention"
    streamed = by_row["weight_bits_moved"] // 8
    return {
        "weight_bytes": np.where(is_attention, 0, streamed),
        "activation_bytes": by_row["activation_bits_moved"] // 8,
        "kv_bytes": np.where(is_attention, streamed, 0),
    }


def _bound(by_row: Mapping[str, NDArray[Any]], rungs: Mapping[str, Any]) -> NDArray[np.object_]:
    memory = by_row["memory_cycles"] > by_row["busy_cycles"]
    takes_time = sum(rungs.values()) > 0
    return np.where(takes_time, np.where(memory, "memory", "compute"), "").astype(object)


def _vector_cycles(workload: Workload, lanes: int) -> NDArray[np.int64]:
    """Cycles of softmax, norms, activation functions, additions and rotary embedding."""
    c = workload.columns
    passes = np.array([_PASSES.get(kind, 0) for kind in c["kind"]])
    scores = workload.batch * c["heads"] * c["pairs"]
    elements = np.where(c["kind"] == "attention", scores, c["elements"])
    return (passes * -(-elements // lanes) * c["count"]).astype(np.int64)


def _vector_totals(workload: Workload, lanes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cycles of the vector units of many designs; one of no lanes is not counted."""
    kinds, kind = np.unique(lanes, return_inverse=True)
    return np.array([_vector_cycles(workload, int(n)).sum() if n else 0 for n in kinds])[kind]


def _roofs(
    matmuls: Matmuls, design: Design, machine: BitSerial
) -> tuple[tuple[str, float, float], ...]:
    """The array's peak at the weights' most common number of terms, and the port."""
    linear = matmuls.is_linear if matmuls.is_linear.any() else np.ones_like(matmuls.is_linear)
    terms = int(np.bincount(matmuls.terms[linear]).argmax()) if design.is_serial else 1
    peak = 2 * int(design.pes[0]) * int(design.lanes[0]) * machine.clock_hz / terms
    label = f"{machine.name}, {terms} terms a weight" if design.is_serial else machine.name
    return ((label, peak, machine.dram.port_bits_per_cycle / 8 * machine.clock_hz),)


# --- energy and area ----------------------------------------------------------------------------


class _BufferCosts(NamedTuple):
    weights: sram.BufferCost
    activations: sram.BufferCost

    @property
    def area_mm2(self) -> NDArray[np.float64]:
        return self.weights.area_mm2 + self.activations.area_mm2


def _buffers(matmuls: Matmuls, design: Design) -> _BufferCosts:
    """Cost both buffers; a word of the weight buffer has a power of two of bits a weight.

    A serial PE reads half of a weight's bits a lane and step (two bits a term, and its terms come
    one by one), as the published simulator sizes its buffers.
    """
    per_pe = design.lanes / 2 if design.is_serial else design.lanes

    def cost(capacity: NDArray[Any], side: NDArray[Any], bits: float) -> sram.BufferCost:
        row_bits = side * per_pe * bits
        return sram.buffer_cost(
            design.node_nm, capacity, row_bits, design.banks, design.write_port_bits
        )

    widest = float(matmuls.weight_bits[matmuls.is_linear].max(initial=1.0))
    stored_bits = float(2 ** np.ceil(np.log2(widest)))
    activation_bits = float(matmuls.activation_bits.max(initial=1.0))
    return _BufferCosts(
        cost(design.weight_buffer_bytes, design.rows, stored_bits),
        cost(design.activation_buffer_bytes, design.columns, activation_bits),
    )


def _energy_pj(
    counted: Mapping[str, NDArray[Any]], design: Design, buffers: _BufferCosts
) -> dict[str, NDArray[np.float64]]:
    """Energy by part, from counted events; `counted` holds [designs] or [rows] of one design."""
    reads = buffers.weights.read_pj + buffers.activations.read_pj
    moved = counted["weight_bits_moved"] + counted["activation_bits_moved"]
    return {
        "pe": energy.pe_array_pj(
            counted["busy_cycles"], design.pes, design.pe_energy_pj, design.layout_energy_factor
        ),
        "sram_read": counted["steps"] * reads,
        "sram_write": counted["weight_writes"] * buffers.weights.write_pj
        + counted["activation_writes"] * buffers.activations.write_pj,
        "dram": dram.access_energy_pj(moved, design.access_pj, design.access_bits),
    }


def _energy_columns(
    by_row: Mapping[str, NDArray[Any]], matmuls: Matmuls, design: Design
) -> dict[str, NDArray[np.float64]]:
    parts = _energy_pj(by_row, design, _buffers(matmuls, design))
    return {f"{name}_pj": values for name, values in parts.items()}


FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    name: functools.partial(_cost, name) for name in _MODELS
}
