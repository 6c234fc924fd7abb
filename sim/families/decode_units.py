"""What decoding compressed weights costs on a machine: one function for all families.

A unit streams: while it decodes, the array multiplies what came before, so an op takes the longer
of the two, and beside that the loading of a palette or codebook and the filling of the pipeline.
The laws of cycles are those of the Verilog (`plait.sim.families.decode_cycles`), except for the
outlier path and for a second codebook, which have no Verilog: there a lookup of each codebook
follows the other, and the outlier path takes its multiply-adds over ``values_per_cycle``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.sim.cost.sram import BankCost, bank_cost
from plait.sim.families import decode_cycles as laws

if TYPE_CHECKING:
    from plait.models.formats import Format
    from plait.models.graph.workload import Workload
    from plait.sim.spec.base import Accelerator
    from plait.sim.spec.decode_units import Codebook, DecodeUnits

__all__ = [
    "FP16",
    "INT8",
    "Decoding",
    "area_mm2",
    "decoding",
    "refuse_units",
    "software_operations",
]

Floats = NDArray[np.float64]

FP16, INT8 = "FP16", "INT8"
_HALF_BITS = 16
_INT8_BITS = 8
_NODE_NM = 28  # of the SRAM table, where a codebook states no figures of its own

# What a unit hands to the array. The outlier path leaves LLM.int8()'s main product in INT8.
_HANDS_ON = {"palette": FP16, "vector": FP16, "additive": FP16, "two_four": FP16}

_OPERATIONS = 2  # that an instruction of a vector unit counts, as its peak counts multiply-adds
_EXTRACT = 2  # instructions: shift and mask of an index
_READ = 1  # of a value or vector in on-chip memory
_EXPAND = 2  # subtraction and product of (code - zero) * scale


@dataclass(frozen=True, slots=True)
class Decoding:
    """What units cost for one execution of every op; every array is [ops], 0 where none works.

    Attributes:
        unit: kind of the unit that works, "" if none.
        streamed_cycles: while codes pass, beside the array.
        waiting_cycles: of loading palettes and codebooks, and of filling the pipeline.
        loaded_bytes: palettes and codebooks, once a matrix; stored bits a weight hold them too.
        energy_pj: None if a unit that works does not say what its energy is.
        on_trees: the sums come from trit trees, and ``streamed_cycles`` are all their cycles.
    """

    unit: NDArray[np.object_]
    streamed_cycles: Floats
    waiting_cycles: Floats
    loaded_bytes: Floats
    energy_pj: Floats | None
    on_trees: NDArray[np.bool_]

    @property
    def works(self) -> bool:
        """Whether any op needs a unit."""
        return bool((self.unit != "").any())

    def totals(self, workload: Workload, units: DecodeUnits) -> dict[str, float]:
        """Figures of the whole step, by dotted name; what units do not say is left out."""
        if not self.works:
            return {}
        count = workload.columns["count"]
        found = {
            "decode.busy_cycles": float(
                (count * (self.streamed_cycles + self.waiting_cycles)).sum()
            ),
            "decode.loaded_bytes": float((count * self.loaded_bytes).sum()),
        }
        if self.energy_pj is not None:
            found["decode.energy_pj"] = float((count * self.energy_pj).sum())
        area = area_mm2(units)
        return found if area is None else found | {"decode.area_mm2": area}

    def rung(self, others: ArrayLike) -> Floats:
        """Cycles that decoding adds to what array and memory take together, [ops].

        Args:
            others: cycles of an op's array and memory; 0 beyond for ops on trees.
        """
        beyond = np.maximum(self.streamed_cycles - np.asarray(others, np.float64), 0.0)
        return self.waiting_cycles + np.where(self.on_trees, 0.0, beyond)


class _Cost(NamedTuple):
    streamed: float
    waiting: float
    loaded_bytes: float = 0.0
    energy_pj: float | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """One op's matrix: [outputs, inputs], of experts as often as visited, and who asks."""

    fmt: Format
    inputs: int
    outputs: int
    matrices: float
    tokens: float
    passes: float
    group_size: int
    weight_bits: float
    activation_bits: float
    op: str
    machine: str

    @property
    def weights(self) -> float:
        return float(self.inputs) * self.outputs * self.matrices

    @property
    def luts(self) -> int:
        """Palettes of the matrix: what is stored beside the indices."""
        stored = (self.weight_bits - self.fmt.code_bits) * self.weights
        return max(1, round(stored / (_HALF_BITS * self.fmt.books[0])))

    def refuse(self, key: str, what: str, got: object, expected: str) -> None:
        raise SpecError(
            f"{what} for weights in {self.fmt.name} of {self.op}",
            where=f"{self.machine}: decode_units.{key}", got=got, expected=expected,
        )  # fmt: skip


def decoding(
    workload: Workload,
    machine: Accelerator,
    takes: Collection[str] = (FP16, INT8),
    passes: ArrayLike = 1,
    units: DecodeUnits | None = None,
    has_software: bool = False,
) -> Decoding:
    """Cost the decode units of a step; a unit that the machine lacks is an error of one line.

    Args:
        takes: what the array multiplies beside codes: "FP16", "INT8".
        passes: how often the weights of an op stream through the unit, [ops] or one for all.
        units: those of a part of the machine, where they are not its own.
        has_software: what has no unit is decoded in software, and costs nothing here.
    """
    units = machine.decode_units if units is None else units
    ops = len(workload)
    kind, unit = np.full(ops, "", object), np.zeros(4 * ops).reshape(4, ops)
    passes = np.broadcast_to(np.asarray(passes, np.float64), ops)
    for row, fmt in _coded(workload):
        name = fmt.decode_unit
        described = getattr(units, str(name))
        job = _job(workload, row, fmt, float(passes[row]), machine.name)
        if described is None:
            if name != "trit_tree" and not has_software:
                _refuse_lack(job, str(name))
            continue
        if _handed_on(fmt) not in takes and name != "trit_tree":
            raise SpecError(
                f"the array takes no {_handed_on(fmt)} values, which {fmt.name} decodes to",
                where=f"{machine.name}: {job.op}", expected="a machine that multiplies them",
            )  # fmt: skip
        cost = _COSTS[str(name)](job, described)
        kind[row] = name
        energy = math.nan if cost.energy_pj is None else cost.energy_pj
        unit[:, row] = cost.streamed, cost.waiting, cost.loaded_bytes, energy
    known = not np.isnan(unit[3]).any()
    streamed, waiting, loaded, energy_pj = unit
    on_trees = kind == "trit_tree"
    return Decoding(kind, streamed, waiting, loaded, energy_pj if known else None, on_trees)


def refuse_units(workload: Workload, machine: str, who: str) -> None:
    """Refuse formats that need a unit, where ``who`` (a published simulator, ...) knows none."""
    for row, fmt in _coded(workload):
        if fmt.decode_unit != "trit_tree":
            raise SpecError(
                f"{who} knows no decode units, which weights in {fmt.name} need",
                where=f"{machine}: {workload.columns['op'][row]}",
                expected="fidelity closed_form",
            )


def area_mm2(units: DecodeUnits) -> float | None:
    """Area of all decode units, square millimetres; None if one of them does not say."""
    total = 0.0
    for name in type(units).model_fields:
        unit: Any = getattr(units, name)
        if unit is None:
            continue
        area = unit.area_um2
        if area is None and name == "codebook":
            area = 1e6 * float(unit.banks * _codebook_bank(unit).area_mm2)
        if area is None:
            return None
        total += area * 1e-6
    return total


def software_operations(workload: Workload) -> Floats:
    """Operations of vector units that decode weights in software, [ops], of one execution.

    Instructions a weight, each counted as two operations: an index is shifted and masked and its
    value or vector read, ``(code - zero) * scale`` are two, so are a column's scale and bias, and a
    further codebook is an addition; an outlier is read, and multiplied and added for each token.
    """
    total = np.zeros(len(workload))
    for row, fmt in _coded(workload):
        job = _job(workload, row, fmt, 1.0, "")
        total[row] = _OPERATIONS * (_instructions(fmt) * job.weights + 2 * _outliers(job))
    return total


def _instructions(fmt: Format) -> float:
    length, books = math.prod(fmt.vector), len(fmt.books)
    if fmt.decoder == "palette":
        return _EXTRACT + _READ
    if fmt.decoder in ("vector", "additive"):
        scaled = 1 if fmt.decoder == "vector" else 0  # additive: a scale a row, after the sum
        return books * (_EXTRACT + _READ) / length + books - 1 + scaled
    if fmt.decoder == "two_four" or fmt.signed_zeros:
        return _EXTRACT + _EXPAND
    return _EXTRACT if fmt.decode_unit == "trit_tree" else 0.0


def _coded(workload: Workload) -> list[tuple[int, Format]]:
    """Rows whose weights ask for a unit; keys and values that do are refused."""
    from plait.models.formats import get

    c = workload.columns
    for row in np.flatnonzero(c["kind"] == "attention"):
        name = str(c["kv_format"][row])
        if name and get(name).decode_unit not in (None, "trit_tree"):
            raise SpecError(
                "keys and values pass no decode unit", where=str(c["op"][row]), got=name,
                expected="a format that its codes alone define",
            )  # fmt: skip
    is_matrix = np.isin(c["kind"], ("linear", "experts")) & (c["tokens"] > 0)
    rows = [int(row) for row in np.flatnonzero(is_matrix) if c["weight_format"][row]]
    found = [(row, get(str(c["weight_format"][row]))) for row in rows]
    return [(row, fmt) for row, fmt in found if fmt.decode_unit]


def _job(workload: Workload, row: int, fmt: Format, passes: float, machine: str) -> _Job:
    c = {name: column[row] for name, column in workload.columns.items()}
    return _Job(
        fmt, int(c["cin"]), int(c["cout"]), max(1.0, math.ceil(c["experts_touched"])),
        float(c["tokens"]), passes, int(c["group_size"]) or int(c["cin"]),
        float(c["weight_bits"]), _value_bits(str(c["activation_format"]), c["activation_bits"]),
        str(c["op"]), machine,
    )  # fmt: skip


def _value_bits(name: str, bits: float) -> float:
    """Bits of a value without its share of a scale."""
    from plait.models.formats import get

    return get(name).code_bits if name else float(bits)


def _handed_on(fmt: Format) -> str:
    return _HANDS_ON.get(fmt.decoder, INT8)


def _refuse_lack(job: _Job, unit: str) -> None:
    raise SpecError(
        f"the machine has no such unit, which weights in {job.fmt.name} of {job.op} need",
        where=f"{job.machine}: decode_units.{unit}",
        expected="that key, or a GPU, which decodes in software",
    )


# --- the units ---------------------------------------------------------------------------------


def _lookup_table(job: _Job, unit: Any) -> _Cost:
    entries = job.fmt.books[0]
    if unit.entries < entries:
        job.refuse("lookup_table.entries", "too few", unit.entries, f"at least {entries}")
    if unit.value_bits < _HALF_BITS:
        job.refuse("lookup_table.value_bits", "too narrow", unit.value_bits, "16, for FP16")
    luts = job.luts
    waiting = luts * (entries + laws.LOOKUP_TABLE_LATENCY)
    whole = laws.lookup_table_cycles(job.outputs, job.inputs, unit.weights_per_cycle, entries, luts)
    streamed = (whole - waiting) * job.matrices * job.passes
    return _Cost(
        streamed, waiting, luts * entries * _HALF_BITS / 8,
        _times(unit.energy_pj_per_weight, job.weights * job.passes),
    )  # fmt: skip


def _codebook(job: _Job, unit: Codebook) -> _Cost:
    length, books = math.prod(job.fmt.vector), job.fmt.books
    if unit.vector_length < length:
        job.refuse("codebook.vector_length", "too short", unit.vector_length, f"at least {length}")
    if unit.value_bits < _HALF_BITS:
        job.refuse("codebook.value_bits", "too narrow", unit.value_bits, "16, for FP16")
    word_bits = unit.vector_length * unit.value_bits
    held, needed = unit.kibibytes * 8192 // word_bits, sum(books)
    if held < needed:
        least = -(-needed * word_bits // 8192)
        job.refuse("codebook.kibibytes", "too small", unit.kibibytes, f"at least {least}")
    rows, columns = job.fmt.code_shape(job.outputs, job.inputs)
    columns //= job.fmt.codes_per_vector
    whole = laws.codebook_cycles(rows, columns, unit.lookups_per_cycle, unit.banks, 0)
    streamed = (whole - laws.CODEBOOK_LATENCY) * len(books) * job.matrices * job.passes
    energy = unit.energy_pj_per_lookup
    if energy is None:
        energy = float(_codebook_bank(unit).read_pj)
    lookups = float(rows) * columns * len(books) * job.matrices * job.passes
    return _Cost(
        streamed, needed + laws.CODEBOOK_LATENCY, needed * length * _HALF_BITS / 8,
        energy * (lookups + needed),
    )  # fmt: skip


def _codebook_bank(unit: Codebook) -> BankCost:
    """One bank by the CACTI table."""
    return bank_cost(
        _NODE_NM, unit.kibibytes * 1024 / unit.banks, unit.vector_length * unit.value_bits
    )


def _expander(job: _Job, unit: Any) -> _Cost:
    if job.group_size % unit.weights_per_cycle:
        job.refuse(
            "expander.weights_per_cycle", "no divisor of the group size", unit.weights_per_cycle,
            f"a divisor of {job.group_size}",
        )  # fmt: skip
    whole = laws.expander_cycles(job.outputs, job.inputs, unit.weights_per_cycle)
    streamed = (whole - laws.EXPANDER_LATENCY) * job.matrices * job.passes
    energy = _times(unit.energy_pj_per_weight, job.weights * job.passes)
    return _Cost(streamed, laws.EXPANDER_LATENCY, energy_pj=energy)


def _outlier_path(job: _Job, unit: Any) -> _Cost:
    if job.inputs > 1 << unit.index_bits:
        needed = (job.inputs - 1).bit_length()
        job.refuse("outlier_path.index_bits", "too narrow", unit.index_bits, f"at least {needed}")
    values = _outliers(job)
    return _Cost(
        math.ceil(values / unit.values_per_cycle), 0.0,
        energy_pj=_times(unit.energy_pj_per_value, values),
    )  # fmt: skip


def _outliers(job: _Job) -> float:
    """FP16 multiply-adds beside the array: whole columns, or single weights, for every token."""
    share, matrix = job.fmt.outlier_share, job.outputs * job.matrices * job.tokens
    if job.fmt.has_table:
        return math.ceil(share * job.inputs) * matrix
    return share * job.inputs * matrix


def _trit_tree(job: _Job, unit: Any) -> _Cost:
    needed = _INT8_BITS + (job.inputs - 1).bit_length()
    if unit.accumulator_bits < needed:
        job.refuse(
            "trit_tree.accumulator_bits", "too narrow", unit.accumulator_bits, f"at least {needed}"
        )
    if job.activation_bits > _INT8_BITS:
        job.refuse(
            "trit_tree", "adds INT8 activations only", f"{job.activation_bits:g} bits",
            "activation=int8 among the formats",
        )  # fmt: skip
    outputs, tokens = -(-job.outputs // unit.trees), math.ceil(job.tokens)
    whole = laws.trit_tree_cycles(outputs, job.inputs, unit.inputs, tokens)
    streamed = (whole - laws.TRIT_TREE_LATENCY) * job.matrices
    energy = _times(unit.energy_pj_per_trit, job.weights * tokens)
    return _Cost(streamed, laws.TRIT_TREE_LATENCY, energy_pj=energy)


def _times(energy_pj: float | None, count: float) -> float | None:
    return None if energy_pj is None else energy_pj * count


_COSTS: dict[str, Callable[[_Job, Any], _Cost]] = {
    "lookup_table": _lookup_table,
    "codebook": _codebook,
    "expander": _expander,
    "outlier_path": _outlier_path,
    "trit_tree": _trit_tree,
}
