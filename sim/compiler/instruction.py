"""Instruction and Program: what the six queues of a sparse DSP core execute.

The instruction set is that of FlightLLM (FPGA 2024, arXiv 2401.03868) as its authors' instruction
generator shows it; the bits of a word are laid out in `plait.hwgen.sparse_dsp`. A `Program` keeps
one array a field, because a prefill program has millions of instructions.

What an instruction does, with blocks of 16 values and one *entry* = one word of a buffer:

- LD moves rows of ``length`` bytes from memory to the entries from ``bank_address`` on of the
  buffer ``mode``; row (i, j, k) begins at address + i stride_1d + j stride_2d + k stride_3d, i
  fastest (a loop of 0 counts as 1). ``zero_fill`` writes zeros and reads nothing.
- ST moves rows of ``length`` bytes from the global buffer to memory.
- MM computes 16 outputs for all token rows of a tile over ``k_blocks`` blocks: activations from A
  (one entry of each channel a block, from a_address on), weights from B (from b_address on).
- MV computes a group of outputs for one row: weights from A, the vector from B, one entry a block.
- MISC passes over ``k_blocks`` blocks of the global buffer: out = operation(a, b).
- SYS joins the queues at the end of a unit, and the cores of a machine.

MM and MV add to the accumulators of the sum that is open: ``bias`` (on its first instruction)
starts it from the bias entry, ``output`` (on its last) closes it and writes the global entry
``out_address``, clipped at 0 with ``relu``. ``sparse`` weights are kept values with places in meta.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name

__all__ = [
    "FIELD_BITS",
    "INSTRUCTION_WORDS",
    "OPCODES",
    "Instruction",
    "LoadTarget",
    "MemoryKind",
    "MiscOperation",
    "Path",
    "Program",
    "Queue",
]


class Queue(enum.IntEnum):
    """The in-order queues of a core; also the bit of a queue in a wait or release mask."""

    LD = 0
    ST = 1
    MM = 2
    MV = 3
    MISC = 4
    SYS = 5


OPCODES: dict[Queue, int] = {
    Queue.LD: 1,
    Queue.ST: 2,
    Queue.MM: 3,
    Queue.MV: 4,
    Queue.MISC: 5,
    Queue.SYS: 15,
}
"""Queue -> opcode in the binary."""

INSTRUCTION_WORDS: dict[Queue, int] = {
    Queue.LD: 7, Queue.ST: 3, Queue.MM: 4, Queue.MV: 4, Queue.MISC: 3, Queue.SYS: 1,
}  # fmt: skip
"""Queue -> 32-bit words of its instructions in the binary."""


class LoadTarget(enum.IntEnum):
    """The buffer that an LD fills (field ``mode``)."""

    B = 0
    META = 1
    BIAS = 2
    FSB = 3
    A = 4
    GLOBAL = 5


class MemoryKind(enum.IntEnum):
    """The off-chip memory of an LD or ST (field ``memory``)."""

    HBM = 0
    DDR = 1


class MiscOperation(enum.IntEnum):
    """What a MISC instruction computes (field ``operation``); from GELU on they are ours."""

    ADD = 0
    MUL = 1
    SOFTMAX = 2
    LAYER_NORM = 3
    RMS_NORM = 4
    SILU = 5
    GELU = 6
    RELU = 7
    COPY = 8


class Path(enum.IntEnum):
    """How the bytes of an LD or ST travel, which fixes their rate; not part of the binary."""

    NONE = 0  # moves nothing: the work is cycles
    ONE_CHANNEL = 1
    ALL_CHANNELS = 2  # one stream a channel, all channels of the core together
    CROSS_CHANNEL = 3
    ZERO_FILL = 4


_LD, _ST, _MM, _MV, _MISC = Queue.LD, Queue.ST, Queue.MM, Queue.MV, Queue.MISC

FIELD_BITS: dict[str, dict[Queue, int]] = {
    "mode": {_LD: 3},
    "channel": {_LD: 3, _ST: 3},
    "bank_address": {_LD: 12, _ST: 12},
    "address": {_LD: 34, _ST: 34},
    "stride_1d": {_LD: 34},
    "stride_2d": {_LD: 34},
    "stride_3d": {_LD: 34},
    "loops_1d": {_LD: 8, _ST: 5},
    "loops_2d": {_LD: 8},
    "loops_3d": {_LD: 8},
    "length": {_LD: 23, _ST: 23},
    "memory": {_LD: 2, _ST: 2},
    "zero_fill": {_LD: 1},
    "by_column": {_ST: 1},
    "k_blocks": {_MM: 14, _MV: 14, _MISC: 14},
    "output": {_MM: 1, _MV: 1},
    "bias": {_MM: 1, _MV: 1},
    "relu": {_MM: 1, _MV: 1},
    "sparse": {_MM: 1, _MV: 1},
    "meta_address": {_MM: 12, _MV: 12},
    "fsb_address": {_MM: 12, _MV: 12},
    "bias_address": {_MM: 12, _MV: 12},
    "a_address": {_MM: 12, _MV: 12, _MISC: 12},
    "b_address": {_MM: 12, _MV: 12, _MISC: 12},
    "out_address": {_MM: 12, _MV: 12, _MISC: 12},
    "mask": {_MISC: 2},
    "operation": {_MISC: 4},
    "weight_format": {_MM: 2, _MV: 2},
    "constants": {_MISC: 12},
}
"""Field -> its bits in the instructions that have it; in the others it is 0.

Addresses and strides off chip are bytes; ``bank_address`` and the other on-chip ones are entries.
``wait`` and ``release`` are masks over `Queue` (bit q = queue q, never the own one): the binary
keeps the five others, first queue in the highest bit. ``weight_format`` (8, 4, 3 or 2 bits) and
``constants`` (the bias entry with the multipliers of a MISC) are ours, in bits that FlightLLM
leaves free.
"""

_MASKS = ("wait", "release")
_NOTES: dict[str, Any] = {"work": np.float64, "path": np.uint8, "unit": np.int32}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; fields as in `FIELD_BITS`, and notes that the binary does not carry.

    Attributes:
        wait: mask of the queues of each of which one token is taken before the start.
        release: mask of the queues to each of which one token is given at the end.
        work: bytes (LD, ST; zero fill too) or cycles (the others) that fix the duration.
        path: the `Path` of those bytes.
        unit: which unit of the program it belongs to.
    """

    queue: Queue
    wait: int = 0
    release: int = 0
    mode: int = 0
    channel: int = 0
    bank_address: int = 0
    address: int = 0
    stride_1d: int = 0
    stride_2d: int = 0
    stride_3d: int = 0
    loops_1d: int = 0
    loops_2d: int = 0
    loops_3d: int = 0
    length: int = 0
    memory: int = 0
    zero_fill: int = 0
    by_column: int = 0
    k_blocks: int = 0
    output: int = 0
    bias: int = 0
    relu: int = 0
    sparse: int = 0
    meta_address: int = 0
    fsb_address: int = 0
    bias_address: int = 0
    a_address: int = 0
    b_address: int = 0
    out_address: int = 0
    mask: int = 0
    operation: int = 0
    weight_format: int = 0
    constants: int = 0
    work: float = 0.0
    path: Path = Path.NONE
    unit: int = 0


def _dtype(name: str) -> Any:
    if name in _NOTES:
        return _NOTES[name]
    bits = max(FIELD_BITS[name].values()) if name in FIELD_BITS else 8
    return next(t for b, t in ((8, np.uint8), (16, np.uint16), (32, np.uint32), (64, np.int64))
                if bits <= b)  # fmt: skip


_NAMES = tuple(f.name for f in fields(Instruction))
_DTYPES = {name: _dtype(name) for name in _NAMES}


@dataclass(frozen=True, eq=False)
class Program:
    """The instructions of one core in program order, an array a field.

    Attributes:
        columns: field -> array [instructions]; a field that is 0 everywhere may be left out.
        units: names that the ``unit`` of an instruction counts in.
    """

    columns: Mapping[str, NDArray[Any]]
    units: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if "queue" not in self.columns:
            raise SpecError("a program without queues", where="queue")
        for name, values in self.columns.items():
            if name not in _DTYPES:
                raise SpecError(unknown_name("field of an instruction", name, _NAMES))
            if values.shape != (len(self),):
                raise SpecError(
                    "not one value an instruction", where=name, got=values.shape,
                    expected=f"({len(self)},)",
                )  # fmt: skip

    @classmethod
    def of(cls, instructions: Iterable[Instruction], units: Sequence[str] = ()) -> Program:
        """Collect instructions.

        >>> Program.of([Instruction(Queue.MV, wait=1 << Queue.LD, k_blocks=4)])["k_blocks"]
        array([4], dtype=uint16)
        """
        rows = [{name: getattr(row, name) for name in _NAMES} for row in instructions]
        return cls.of_columns(rows, units)

    @classmethod
    def of_columns(cls, rows: Sequence[Mapping[str, Any]], units: Sequence[str] = ()) -> Program:
        """Collect instructions given as mappings; a field that is left out is 0."""
        present = {"queue"}.union(*rows)
        columns = {}
        for name in _NAMES:
            if name not in present:
                continue
            wide = np.float64 if name in _NOTES else np.int64
            values = np.array([row.get(name, 0) for row in rows], dtype=wide)
            if name == "queue" or values.any():
                _check_range(name, values, rows)
                columns[name] = values.astype(_DTYPES[name])
        return cls(columns, tuple(units))

    @classmethod
    def join(cls, parts: Sequence[Program], units: Sequence[str] = ()) -> Program:
        """Put programs one after another; their ``unit`` numbers stay as they are."""
        names = [n for n in _NAMES if n == "queue" or any(n in p.columns for p in parts)]
        empty = np.zeros(0, dtype=np.uint8)
        joined = {
            n: np.concatenate([p[n] for p in parts]) if parts else empty.astype(_DTYPES[n])
            for n in names
        }
        return cls(joined, tuple(units))

    def __len__(self) -> int:
        """Return the number of instructions."""
        return len(self.columns["queue"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Give a field as an array [instructions], zeros if it was left out."""
        if name in self.columns:
            return self.columns[name]
        if name not in _DTYPES:
            raise SpecError(unknown_name("field of an instruction", name, _NAMES))
        return np.zeros(len(self), dtype=_DTYPES[name])

    def instruction(self, index: int) -> Instruction:
        """Give one instruction as a record."""
        values = {n: v[index].item() for n, v in self.columns.items()}
        values["queue"] = Queue(values["queue"])
        values["path"] = Path(values.get("path", 0))
        return Instruction(**values)

    def __iter__(self) -> Iterator[Instruction]:
        """Yield the instructions as records: for short programs."""
        return (self.instruction(index) for index in range(len(self)))

    def counts(self) -> dict[str, int]:
        """Count the instructions a queue."""
        counts = np.bincount(self["queue"], minlength=len(Queue))
        return {queue.name.lower(): int(counts[queue]) for queue in Queue}

    def encoded_equal(self, other: Program) -> bool:
        """Whether two programs have the same binary: all but work, path and unit."""
        names = [name for name in _NAMES if name not in _NOTES]
        return len(self) == len(other) and all(
            np.array_equal(self[name], other[name]) for name in names
        )

    @cached_property
    def words(self) -> int:
        """32-bit words of the binary."""
        counts = np.bincount(self["queue"], minlength=len(Queue))
        return int(sum(int(counts[queue]) * words for queue, words in INSTRUCTION_WORDS.items()))

    def loops(self, axis: str) -> NDArray[np.int64]:
        """Rows that each LD moves along an axis ("1d", "2d", "3d"), a loop of 0 is 1; else 1."""
        loops = self[f"loops_{axis}"].astype(np.int64)
        return np.where(self["queue"] == Queue.LD, np.maximum(loops, 1), 1)

    def place(self, index: int) -> str:
        """Name an instruction in an error.

        >>> Program.of([Instruction(Queue.LD)]).place(0)
        'instruction 0 (LD)'
        """
        number = int(self["queue"][index])
        name = Queue(number).name if number < len(Queue) else f"queue {number}"
        unit = int(self["unit"][index])
        where = f", unit {self.units[unit]}" if unit < len(self.units) else ""
        return f"instruction {index} ({name}{where})"

    def verify(self) -> Program:
        """Refuse a value that the instruction has no bits for; return self."""
        queues = self["queue"]
        if (queues >= len(Queue)).any():
            index = int(np.argmax(queues >= len(Queue)))
            raise SpecError(
                "unknown queue", where=self.place(index), got=int(queues[index]),
                expected="0 to 5: " + ", ".join(q.name for q in Queue),
            )  # fmt: skip
        for name in _MASKS:
            self._verify_mask(name, queues)
        for name, bits in FIELD_BITS.items():
            if name in self.columns:
                largest = np.zeros(len(Queue), dtype=self.columns[name].dtype)
                for queue, width in bits.items():
                    largest[queue] = (1 << width) - 1
                self._verify_range(name, largest[queues])
        return self

    def _verify_mask(self, name: str, queues: NDArray[Any]) -> None:
        masks = self[name]
        allowed = np.array([(1 << len(Queue)) - 1 - (1 << q) for q in Queue], dtype=masks.dtype)
        wrong = (masks & ~allowed[queues]) != 0
        if wrong.any():
            index = int(np.argmax(wrong))
            raise SpecError(
                f"{name} names its own queue or none there is", where=self.place(index),
                got=int(masks[index]), expected="a mask of the five other queues",
            )  # fmt: skip

    def _verify_range(self, name: str, largest: NDArray[Any]) -> None:
        values = self[name]
        wrong = values > largest
        if values.dtype.kind == "i":
            wrong |= values < 0
        if wrong.any():
            index = int(np.argmax(wrong))
            limit = int(largest[index])
            raise SpecError(
                f"{name} out of range", where=self.place(index), got=int(values[index]),
                expected=f"0 to {limit}" if limit else "0: this instruction has no such field",
            )  # fmt: skip


def _check_range(name: str, values: NDArray[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what the array of a field could not even hold."""
    if name in _NOTES:
        return
    largest = int(np.iinfo(_DTYPES[name]).max)
    wrong = (values < 0) | (values > largest)
    if wrong.any():
        index = int(np.argmax(wrong))
        queue = int(rows[index]["queue"])
        kind = Queue(queue).name if queue < len(Queue) else f"queue {queue}"
        raise SpecError(
            f"{name} out of range", where=f"instruction {index} ({kind})", got=int(values[index]),
            expected=f"0 to {largest}",
        )  # fmt: skip
