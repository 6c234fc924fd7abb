"""Workload -> units of the Verilog core: one token through a decoder, a section a run.

The layers are one section that runs once a layer, what follows them another; the embedding is no
unit, because its row is read where it lies in the table. Rows that matrices multiply, keys and
values are INT8, everything between has 16 bits. Keys and values of the context, the token's own
included, are operands that the host lays out.

Symbols are named after the op that makes them; ``^`` before a name means "of the layer before".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.models.graph.ops import PREVIOUS
from plait.sim.compiler.core import VerilogCore, core_of
from plait.sim.compiler.core_units import (
    TWO_OPERANDS,
    blocks_at_once,
    groups_at_once,
    multiply_unit,
    special_unit,
)
from plait.sim.compiler.instruction import FIELD_BITS, MiscOperation, Queue
from plait.sim.compiler.kept import FORMAT_BITS, spread
from plait.sim.compiler.relocatable import CoreUnit, Multiply, Special, Symbol, Vector, Weights
from plait.sim.spec.sparse_dsp import BLOCK, SparseDsp

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["Section", "compile_step"]

_MULTIPLIED = ("linear", "attention")  # kinds whose operands are INT8
_INT8 = 8
_EMBEDDING = "embedding"
_LARGEST_LOOPS = (1 << FIELD_BITS["loops_2d"][Queue.LD]) - 1
_FUNCTIONS = {
    "rms_norm": MiscOperation.RMS_NORM,
    "silu": MiscOperation.SILU,
    "gelu": MiscOperation.GELU,
    "add": MiscOperation.ADD,
    "mul": MiscOperation.MUL,
}


@dataclass(frozen=True)
class Section:
    """Units that one start of the machine runs.

    Attributes:
        name: "layers", or "after the layers".
        count: runs in a step.
        inputs: vectors that another run wrote, or that lie in the table of the embedding.
    """

    name: str
    count: int
    units: tuple[CoreUnit, ...]
    inputs: tuple[str, ...]


def compile_step(
    workload: Workload, machine: SparseDsp, kept: Mapping[str, NDArray[np.int64]] | None = None
) -> tuple[Section, ...]:
    """Compile one decode step of one sequence.

    Args:
        kept: op -> weights that an output keeps in each block, int64 [groups of 16 outputs,
            blocks of 16 inputs]; what is not in it keeps the machine's density, spread evenly.

    Raises:
        SpecError: an op that the Verilog lacks, or that does not fit a buffer.
    """
    return _Step(workload, machine, kept or {}).sections()


class _Step:
    def __init__(
        self, workload: Workload, machine: SparseDsp, kept: Mapping[str, NDArray[np.int64]]
    ) -> None:
        self.c, self.machine, self.kept = workload.columns, machine, kept
        self.core: VerilogCore = core_of(machine)
        if workload.phase != "decode" or workload.batch != 1:
            raise SpecError(
                "the Verilog runs one token of one sequence", where=machine.name,
                got=f"{workload.phase}, batch {workload.batch}", expected="decode, batch 1",
            )  # fmt: skip
        self.rows = {str(op): row for row, op in enumerate(self.c["op"])}
        unknown = [op for op in kept if op not in self.rows]
        if unknown:
            raise SpecError("no op of this model", where="kept", got=unknown[0])
        self.consumers: dict[str, set[str]] = {}
        for row, kind in enumerate(self.c["kind"]):
            for source in self._sources(row):
                self.consumers.setdefault(source.removeprefix(PREVIOUS), set()).add(str(kind))

    def sections(self) -> tuple[Section, ...]:
        """Compile every op in its order."""
        make: dict[str, Callable[[int], Iterator[CoreUnit]]] = {
            "linear": self._linear,
            "norm": self._function,
            "activation": self._function,
            "elementwise": self._function,
            "rope": self._rope,
            "attention": self._attention,
        }
        found: list[tuple[str, int, list[CoreUnit]]] = []
        for row, kind in enumerate(self.c["kind"]):
            if kind == _EMBEDDING:
                continue
            if kind not in make:
                raise self._lacking(row, str(kind))
            name, count = self._section(row)
            if not found or found[-1][0] != name:
                found.append((name, count, []))
            found[-1][2].extend(make[kind](row))
        return tuple(
            Section(name, count, tuple(units), self._inputs(units)) for name, count, units in found
        )

    def _section(self, row: int) -> tuple[str, int]:
        """Which run an op belongs to, and how often that runs."""
        op, count = str(self.c["op"][row]), int(self.c["count"][row])
        if "*" in op:
            return op.split("*")[0].rstrip("."), count
        if count > 1:
            raise SpecError("the layers are not alike", where=op, expected="one program for all")
        return "after the layers", 1

    def _inputs(self, units: list[CoreUnit]) -> tuple[str, ...]:
        """What ops make and none of the units, each once."""
        written = {unit.task.out.name for unit in units}
        reads = dict.fromkeys(source for unit in units for source in self._sources(unit.row))
        return tuple(source for source in reads if source not in written)

    # --- operands ---------------------------------------------------------------------------

    def _sources(self, row: int) -> tuple[str, ...]:
        found: tuple[str, ...] = self.c["sources"][row]
        return found

    def _operands(self, row: int, count: int) -> list[Vector]:
        """The vectors that an op reads."""
        sources = self._sources(row)
        if len(sources) != count:
            raise SpecError(
                "the graph does not say what it reads", where=str(self.c["op"][row]),
                got=f"{len(sources)} inputs", expected=f"{count}",
            )  # fmt: skip
        found = []
        for source in sources:
            name = source.removeprefix(PREVIOUS)
            if name not in self.rows:
                raise SpecError("reads what no op writes", where=str(self.c["op"][row]), got=source)
            found.append(Vector.named(source, self._elements(self.rows[name])))
        return found

    def _elements(self, row: int) -> int:
        """Of an op's result."""
        kind = str(self.c["kind"][row])
        if kind == "attention":
            return int(self.c["heads"][row]) * int(self.c["head_dim"][row])
        return int(self.c["cout" if kind == "linear" else "elements"][row])

    def _result(self, row: int) -> Vector:
        return Vector.named(str(self.c["op"][row]), self._elements(row))

    def _is_int8(self, row: int) -> bool:
        """Whether a matrix multiplies the result, or the cache keeps it."""
        consumers = self.consumers.get(str(self.c["op"][row]), set())
        return bool(consumers & set(_MULTIPLIED))

    def _lacking(self, row: int, what: str) -> SpecError:
        known = ", ".join(("linear", "attention", "rope", *_FUNCTIONS))
        return SpecError(
            "the Verilog does not do it", where=str(self.c["op"][row]), got=what, expected=known
        )

    # --- products ---------------------------------------------------------------------------

    def _linear(self, row: int) -> Iterator[CoreUnit]:
        op, (vector,) = str(self.c["op"][row]), self._operands(row, 1)
        if float(self.c["tokens"][row]) != 1.0:
            raise self._lacking(row, f"{self.c['tokens'][row]:g} rows")
        self._check_bits(row, "activation_bits")
        weights = Weights(
            op, int(self.c["cout"][row]), int(self.c["cin"][row]), self._weight_bits(row),
            self._kept(row),
        )  # fmt: skip
        yield from self._products(row, weights, vector, self._result(row), self._is_int8(row))

    def _products(
        self, row: int, weights: Weights, vector: Vector, out: Vector, is_int8: bool, **part: Any
    ) -> Iterator[CoreUnit]:
        """One matrix, cut where its outputs are too many for a unit."""
        name = f"{self.c['op'][row]} {part['part']} {part['head']}" if part else weights.name
        pieces = _cut(weights.groups, groups_at_once(self.core, weights))
        for number, (first, groups) in enumerate(pieces):
            task = Multiply(weights, (vector,), out.part(first, groups), is_int8, first)
            yield multiply_unit(
                self.core, _numbered(name, number, len(pieces)), task, op=str(self.c["op"][row]),
                row=row, **part,
            )  # fmt: skip

    def _weight_bits(self, row: int) -> int:
        name = str(self.c["weight_format"][row])
        if name not in FORMAT_BITS:
            got = name or f"{self.c['weight_bits'][row]:g} bits"
            raise SpecError(
                "the machine's dequantiser lacks it", where=str(self.c["op"][row]), got=got,
                expected=", ".join(FORMAT_BITS),
            )  # fmt: skip
        return FORMAT_BITS[name]

    def _check_bits(self, row: int, column: str) -> None:
        """Refuse operands that are no INT8, by name or by bits."""
        bits = float(self.c[column][row])
        name = str(self.c[column.removesuffix("_bits") + "_format"][row])
        if name != "int8" and not (not name and bits == _INT8):
            raise SpecError(
                "the DSP chains take INT8", where=f"{self.c['op'][row]}: {column}",
                got=name or f"{bits:g} bits", expected="int8",
            )  # fmt: skip

    def _kept(self, row: int) -> NDArray[np.int64] | None:
        op = str(self.c["op"][row])
        if op in self.kept:
            return self.kept[op]
        density = self.machine.density_of(op)
        if density == 1:
            return None
        groups, k_blocks = (-(-int(self.c[name][row]) // BLOCK) for name in ("cout", "cin"))
        return spread(density, groups, k_blocks)

    def _attention(self, row: int) -> Iterator[CoreUnit]:
        """Scores, softmax and the mean of the values, a head at a time."""
        op, c = str(self.c["op"][row]), self.c
        query, key, value = self._operands(row, 3)
        keys, size = int(c["keys"][row]), int(c["head_dim"][row])
        heads, kv_heads = int(c["heads"][row]), int(c["kv_heads"][row])
        if size % BLOCK:
            raise self._lacking(row, f"heads of {size} elements, no multiple of {BLOCK}")
        if (query.elements, key.elements) != (heads * size, kv_heads * size):
            raise self._lacking(row, "queries and keys in one vector")
        if c["unified_max"][row] or c["recompute"][row]:
            raise self._lacking(row, "softmax with one constant for all scores")
        self._check_bits(row, "kv_bits")
        whole, blocks = self._result(row), size // BLOCK
        constants = Symbol(f"{op}.softmax.constants", 1)
        for head in range(heads):
            group = head * kv_heads // heads
            key_rows = Weights(
                f"{op}.keys.{group}", keys, size, _INT8, traffic="kv_bytes", newest=key.name
            )
            columns = Weights(
                f"{op}.values.{group}", size, keys, _INT8, traffic="kv_bytes", newest=value.name
            )
            scores = Vector.named(f"{op}.scores.{head}", keys)
            chances = Vector.named(f"{op}.softmax.{head}", keys)
            origin: dict[str, Any] = {"op": op, "head": head, "row": row}
            yield from self._products(
                row, key_rows, query.part(head * blocks, blocks), scores, False,
                part="scores", head=head,
            )  # fmt: skip
            softmax = Special(MiscOperation.SOFTMAX, scores, None, chances, constants, True)
            yield special_unit(self.core, f"{op} softmax {head}", softmax, part="softmax", **origin)
            yield from self._products(
                row, columns, chances, whole.part(head * blocks, blocks), True,
                part="values", head=head,
            )  # fmt: skip

    # --- special functions ------------------------------------------------------------------

    def _function(self, row: int) -> Iterator[CoreUnit]:
        op, function = str(self.c["op"][row]), str(self.c["function"][row])
        if function not in _FUNCTIONS:
            raise self._lacking(row, function)
        operation = _FUNCTIONS[function]
        out = self._result(row)
        if operation == MiscOperation.RMS_NORM:
            (left,) = self._operands(row, 1)
            if int(self.c["parameters"][row]) != out.elements:
                raise self._lacking(row, "norms of parts of a vector")
            operands = [left, Vector.named(f"{op}.gains", out.elements)]
            pieces = [(0, out.blocks)]
        else:
            is_pair = operation in TWO_OPERANDS
            if is_pair and int(self.c["inputs"][row]) == 1:
                raise self._lacking(row, f"{function} of a constant")
            operands = self._operands(row, 2 if is_pair else 1)
            pieces = _cut(out.blocks, blocks_at_once(self.core, operation))
        if any(vector.elements != out.elements for vector in operands):
            raise self._lacking(row, "vectors of several lengths")
        yield from self._special(row, operation, operands, out, pieces, self._is_int8(row))

    def _rope(self, row: int) -> Iterator[CoreUnit]:
        """The cosine's part, the sine's part with the halves of each head exchanged, their sum."""
        op, (vector,) = str(self.c["op"][row]), self._operands(row, 1)
        heads, size, out = (
            int(self.c["heads"][row]),
            int(self.c["head_dim"][row]),
            self._result(row),
        )
        if heads * size != out.elements or vector.elements != out.elements:
            raise self._lacking(row, "rotation of a part of a head")
        if size % (2 * BLOCK):
            raise self._lacking(row, f"heads of {size} elements, no multiple of {2 * BLOCK}")
        head = size // BLOCK
        mul = MiscOperation.MUL
        at_once = blocks_at_once(self.core, mul)
        pieces = _cut(heads, max(1, min(at_once // head, _LARGEST_LOOPS)))
        by_head = [(first * head, count * head) for first, count in pieces]
        parts = []
        for part, exchanged in (("cosine", 0), ("sine", head)):
            table = Vector.named(f"{op}.{part}s", out.elements)
            parts.append(Vector.named(f"{op}.{part}", out.elements))
            yield from self._special(
                row, mul, [vector, table], parts[-1], by_head, False, part, exchanged
            )
        yield from self._special(
            row, MiscOperation.ADD, parts, out, by_head, self._is_int8(row), "sum"
        )

    def _special(
        self,
        row: int,
        operation: MiscOperation,
        operands: list[Vector],
        out: Vector,
        pieces: list[tuple[int, int]],
        is_int8: bool,
        part: str = "",
        head_blocks: int = 0,
    ) -> Iterator[CoreUnit]:
        op = str(self.c["op"][row])
        constants = Symbol(f"{op}.{part}.constants" if part else f"{op}.constants", 1)
        for number, (first, blocks) in enumerate(pieces):
            left, *right = (vector.part(first, blocks) for vector in operands)
            task = Special(
                operation, left, right[0] if right else None, out.part(first, blocks), constants,
                is_int8, head_blocks,
            )  # fmt: skip
            name = _numbered(f"{op} {part}".rstrip(), number, len(pieces))
            yield special_unit(self.core, name, task, op=op, part=part, row=row)


def _cut(total: int, most: int) -> list[tuple[int, int]]:
    """(first, count) of pieces of nearly one size.

    >>> _cut(10, 4)
    [(0, 4), (4, 3), (7, 3)]
    """
    pieces = -(-total // most)
    ends = [-(-total * number // pieces) for number in range(pieces + 1)]
    return [(a, b - a) for a, b in pairwise(ends)]


def _numbered(name: str, number: int, count: int) -> str:
    return name if count == 1 else f"{name} {number + 1}/{count}"
