"""Operations on vectors as a program of the sparse DSP core, and the memory around it.

An `Assembler` places weights, constants and vectors in memory and appends units; a unit loads its
operands, computes, stores its results and joins the queues with SYS. A vector in memory is a word
of 16 elements of 16 bits a block; INT8 elements are sign-extended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.constants import encode_constants
from plait.hwgen.sparse_dsp.program import encode
from plait.hwgen.sparse_dsp.weights import BLOCK, WEIGHT_BITS, WORD_BYTES, SparseMatrix, group_image
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.instruction import (
    LoadTarget,
    MiscOperation,
    Program,
    Queue,
)
from plait.sim.families.sparse_dsp_schedule import misc_cycles, multiply_cycles

__all__ = [
    "SEGMENT_MAGIC",
    "Assembler",
    "Image",
    "Vector",
    "channel_image",
    "read_vector",
    "vector_image",
]

SEGMENT_MAGIC = 0x31445350  # "PSD1"
_WORDS_A_PORT = WORD_BYTES // 4
_FROM_MISC, _FROM_MULTIPLY = 1 << 10, 2 << 10  # regions of the global buffer
_TWO_OPERANDS = (MiscOperation.ADD, MiscOperation.MUL, MiscOperation.RMS_NORM)


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector in memory: first word, elements."""

    address: int
    elements: int

    @property
    def blocks(self) -> int:
        """Words."""
        return -(-self.elements // BLOCK)

    def part(self, first_block: int, blocks: int) -> Vector:
        """Some of its blocks."""
        return Vector(self.address + first_block, blocks * BLOCK)


@dataclass(frozen=True, slots=True)
class Image:
    """What the host puts into memory.

    Args:
        blocks: {address: uint8 [words, 32]}; the program begins at address 0.
        segments: the instructions, as they are loaded.
        segment_words: port words of each segment.
        words: of the memory in use.
    """

    blocks: Mapping[int, NDArray[np.uint8]] = field(repr=False)
    segments: tuple[Program, ...]
    segment_words: tuple[int, ...]
    words: int

    @property
    def program(self) -> Program:
        """All instructions."""
        return Program.join(self.segments)


def vector_image(values: ArrayLike) -> NDArray[np.uint8]:
    """Give the words of a vector [elements], or of rows [rows, elements] one after another."""
    rows = np.atleast_2d(np.asarray(values))
    blocks = -(-rows.shape[1] // BLOCK)
    padded = np.zeros((len(rows), blocks * BLOCK), "<i2")
    padded[:, : rows.shape[1]] = rows
    return padded.view(np.uint8).reshape(-1, WORD_BYTES)


def read_vector(words: NDArray[np.uint8], elements: int) -> NDArray[np.int64]:
    """Undo `vector_image` of one vector."""
    return np.ascontiguousarray(words).view("<i2").reshape(-1)[:elements].astype(np.int64)


def channel_image(channels: Channels) -> NDArray[np.uint8]:
    """Give the bias words: four outputs a word, each bias, multiplier, shift and width."""
    outputs = -(-len(channels.bias) // BLOCK) * BLOCK
    image = np.zeros((outputs, 8), np.uint8)
    count = len(channels.bias)
    image[:count, :4] = channels.bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    image[:count, 4:6] = channels.multiplier.astype("<u2").view(np.uint8).reshape(-1, 2)
    image[:count, 6] = channels.shift | (0x40 if channels.is_int8 else 0)
    return image.reshape(-1, WORD_BYTES)


class Assembler:
    """Collects units for a machine.

    Args:
        parameters: of the core, by their Verilog names.
    """

    def __init__(self, parameters: Mapping[str, int]) -> None:
        self.parameters = parameters
        self._blocks: list[tuple[int, NDArray[np.uint8]]] = []
        self._at = 0  # relative to the end of the program, which is not known yet
        self._units: list[list[dict[str, int]]] = []

    # ---- Memory -------------------------------------------------------------------------------

    def place(self, words: NDArray[np.uint8]) -> int:
        """Put words into memory; give their address."""
        address = self._at
        self._blocks.append((address, words))
        self._at += len(words)
        return address

    def vector(self, values: ArrayLike) -> Vector:
        """Put a vector into memory."""
        numbers = np.asarray(values)
        return Vector(self.place(vector_image(numbers)), numbers.shape[-1])

    def room(self, elements: int) -> Vector:
        """Leave room for a vector."""
        blocks = -(-elements // BLOCK)
        return Vector(self.place(np.zeros((blocks, WORD_BYTES), np.uint8)), elements)

    # ---- Units --------------------------------------------------------------------------------

    def misc(
        self,
        operation: MiscOperation,
        left: Vector,
        right: Vector | None,
        out: Vector,
        constants: Constants,
        swap_halves_of: int = 0,
    ) -> None:
        """One special function from memory to memory.

        Args:
            swap_halves_of: blocks of a head whose halves of ``left`` are exchanged on loading.
        """
        self._fits("global_entries", (2 if right else 1) * left.blocks, "GlobalEntries")
        word = np.frombuffer(
            encode_constants(constants).to_bytes(WORD_BYTES, "little"), np.uint8
        ).reshape(1, -1)
        rows = [_load(LoadTarget.BIAS, self.place(word), 1, 0)]
        if swap_halves_of:
            rows.append(_load_swapped(left, swap_halves_of))
        else:
            rows.append(_load(LoadTarget.GLOBAL, left.address, left.blocks, 0))
        if operation in _TWO_OPERANDS:
            if right is None or right.blocks != left.blocks:
                raise SpecError("needs two vectors of one length", where=operation.name.lower())
            rows.append(_load(LoadTarget.GLOBAL, right.address, right.blocks, left.blocks))
        rows[-1] |= {"release": _mask(Queue.MISC)}
        rows.append(
            {
                "queue": Queue.MISC, "wait": _mask(Queue.LD), "release": _mask(Queue.ST),
                "operation": operation, "k_blocks": left.blocks, "b_address": left.blocks,
                "out_address": _FROM_MISC, "work": misc_cycles(operation, left.blocks),
            }
        )  # fmt: skip
        rows.append(_store(out.address, out.blocks, _FROM_MISC, Queue.MISC))
        self._unit(rows)

    def linear(self, matrix: SparseMatrix, channels: Channels, row: Vector, out: Vector) -> None:
        """Multiply one row (MV): 16 outputs an instruction, weights loaded ahead."""
        self._fits_matrix(matrix, "ABankEntries", "Rows")
        rows = [_load(LoadTarget.B, row.address, matrix.k_blocks, 0)]
        body = self._multiply(matrix, channels, Queue.MV, 1)
        rows += [*body, _store(out.address, matrix.groups, _FROM_MULTIPLY, Queue.MV)]
        self._unit(rows)

    def linear_rows(
        self, matrix: SparseMatrix, channels: Channels, rows_in: Sequence[Vector], out: Vector
    ) -> None:
        """Multiply the rows of a tile (MM); results lie as [groups, rows, 16 outputs]."""
        count = self.parameters["Rows"]
        if len(rows_in) != count:
            raise SpecError(
                "not a tile of rows", where="MM", got=len(rows_in), expected=f"{count} rows"
            )
        self._fits("rows", matrix.k_blocks, "ABankEntries")
        self._fits_matrix(matrix, "BEntries")
        self._fits("outputs", count * matrix.groups, "GlobalEntries")
        rows = [
            {**_load(LoadTarget.A, one.address, matrix.k_blocks, 0), "channel": bank}
            for bank, one in enumerate(rows_in)
        ]
        body = self._multiply(matrix, channels, Queue.MM, count)
        rows += [*body, _store(out.address, count * matrix.groups, _FROM_MULTIPLY, Queue.MM)]
        self._unit(rows)

    def _multiply(
        self, matrix: SparseMatrix, channels: Channels, queue: Queue, count: int
    ) -> list[dict[str, int]]:
        """Loads and multiplications of every group, the loads at most `ahead` groups before."""
        images = [group_image(matrix, group) for group in range(matrix.groups)]
        bias = channel_image(channels)
        self._fits("outputs", len(bias), "BiasEntries")
        self._fits("outputs", count * matrix.groups, "GlobalEntries")
        rows = [_load(LoadTarget.BIAS, self.place(bias), len(bias), 0)]
        most = max(1, max(len(codes) for codes, _, _ in images))
        capacity = self._weight_words(queue)
        is_sparse = matrix.mask is not None
        ahead = min(capacity // most, matrix.groups)
        kept_words = len(images[0][2])
        if is_sparse:
            ahead = min(ahead, self.parameters["MetaEntries"] // matrix.k_blocks)
            ahead = min(ahead, self.parameters["FsbEntries"] // kept_words)
        weights = LoadTarget.A if queue == Queue.MV else LoadTarget.B
        for group, (codes, masks, kept) in enumerate(images):
            slot = group % ahead
            loads = []
            if is_sparse:
                loads.append(
                    _load(LoadTarget.META, self.place(masks), len(masks), slot * matrix.k_blocks)
                )
                loads.append(_load(LoadTarget.FSB, self.place(kept), len(kept), slot * kept_words))
            if len(codes):
                loads += self._weight_loads(weights, self.place(codes), len(codes), slot * most)
            if group >= ahead:
                loads[0] |= {"wait": _mask(queue)}
            loads[-1] |= {"release": _mask(queue)}
            address = slot * most
            releases = [Queue.LD] if group + ahead < matrix.groups else []
            releases += [Queue.ST] if group == matrix.groups - 1 else []
            rows += loads
            rows.append(
                {
                    "queue": queue, "wait": _mask(Queue.LD), "release": _mask(*releases),
                    "k_blocks": matrix.k_blocks, "output": 1, "bias": 1, "sparse": int(is_sparse),
                    "weight_format": WEIGHT_BITS.index(matrix.bits),
                    "meta_address": slot * matrix.k_blocks, "fsb_address": slot * kept_words,
                    "work": multiply_cycles(matrix.kept[group], True, count),
                    "bias_address": 4 * group, "out_address": _FROM_MULTIPLY + count * group,
                    **({"a_address": address} if queue == Queue.MV else {"b_address": address}),
                }
            )  # fmt: skip
        return rows

    def _weight_words(self, queue: Queue) -> int:
        if queue == Queue.MM:
            return self.parameters["BEntries"]
        return self.parameters["ABankEntries"] * self.parameters["Rows"]

    def _weight_loads(
        self, target: LoadTarget, address: int, words: int, entry: int
    ) -> list[dict[str, int]]:
        """Loads of consecutive words; for A, one a bank that they touch."""
        if target == LoadTarget.B:
            return [_load(target, address, words, entry)]
        depth, loads = self.parameters["ABankEntries"], []
        while words:
            bank, low = divmod(entry, depth)
            part = min(words, depth - low)
            loads.append({**_load(target, address, part, low), "channel": bank})
            address, words, entry = address + part, words - part, entry + part
        return loads

    def _fits_matrix(self, matrix: SparseMatrix, *names: str) -> None:
        most = max(len(group_image(matrix, group)[0]) for group in range(matrix.groups))
        if most > int(np.prod([self.parameters[name] for name in names])):
            raise SpecError(
                "the weights of 16 outputs do not fit the buffer", where=names[0], got=most
            )
        if matrix.mask is not None:
            self._fits("inputs", matrix.k_blocks, "MetaEntries")

    def _fits(self, where: str, words: int, buffer: str) -> None:
        if words > self.parameters[buffer]:
            raise SpecError(
                f"does not fit {buffer}", where=where, got=f"{words} words",
                expected=f"at most {self.parameters[buffer]}",
            )  # fmt: skip

    def _unit(self, rows: list[dict[str, int]]) -> None:
        """Close a unit: its first LD waits for the SYS before, its ST for nobody's instruction."""
        if self._units:
            rows[0]["wait"] = rows[0].get("wait", 0) | _mask(Queue.SYS)
        rows[-1]["release"] = _mask(Queue.SYS)
        rows.append({"queue": Queue.SYS, "wait": _mask(Queue.ST), "release": _mask(Queue.LD)})
        self._units.append(rows)

    # ---- The whole ------------------------------------------------------------------------------

    def image(self) -> Image:
        """Cut the units into segments, give addresses their place behind the program."""
        if not self._units:
            raise SpecError("a program without units", where="program")
        units = [[dict(row) for row in unit] for unit in self._units]
        units[-1][-1]["release"] = 0
        parts = self._segments(units)
        sizes = [-(-Program.of_columns(part).words // _WORDS_A_PORT) for part in parts]
        base = sum(sizes) + len(sizes)
        for part in parts:
            for row in part:
                if row["queue"] in (Queue.LD, Queue.ST):
                    row["address"] += base * WORD_BYTES
        programs = tuple(Program.of_columns(part).verify() for part in parts)
        text = np.zeros((base, WORD_BYTES), np.uint8)
        at = 0
        for index, (program, size) in enumerate(zip(programs, sizes, strict=True)):
            binary = encode(program)
            header = [SEGMENT_MAGIC, size, len(binary), int(index == len(programs) - 1)]
            text[at, :16] = np.array(header, "<u4").view(np.uint8)
            body = text[at + 1 : at + 1 + size].reshape(-1)
            body[: 4 * len(binary)] = binary.astype("<u4").view(np.uint8)
            at += 1 + size
        blocks = {0: text} | {base + a: words for a, words in self._blocks}
        return Image(blocks, programs, tuple(sizes), base + self._at)

    def address_in(self, image: Image, vector: Vector) -> int:
        """Where a vector lies in the memory of the image."""
        return vector.address + image.words - self._at

    def _segments(self, units: list[list[dict[str, int]]]) -> list[list[dict[str, int]]]:
        """Join units while they fit the instruction buffer."""
        limit, used = self.parameters["SegmentEntries"] * _WORDS_A_PORT, 0
        parts: list[list[dict[str, int]]] = [[]]
        for unit in units:
            words = Program.of_columns(unit).words
            if words > limit:
                raise SpecError(
                    "a unit's instructions do not fit the instruction buffer",
                    where="program", got=f"{words} words", expected=f"at most {limit}",
                )  # fmt: skip
            if used + words > limit:
                parts.append([])
                used = 0
            parts[-1] += unit
            used += words
        return parts


def _mask(*queues: Queue) -> int:
    return sum(1 << queue for queue in queues)


def _load(target: LoadTarget, address: int, words: int, entry: int) -> dict[str, int]:
    return {
        "queue": Queue.LD, "mode": target, "address": address * WORD_BYTES,
        "length": words * WORD_BYTES, "bank_address": entry,
    }  # fmt: skip


def _load_swapped(vector: Vector, head: int) -> dict[str, int]:
    """Load heads of some blocks, the second half of each before its first."""
    half = head // 2 * WORD_BYTES
    return {
        **_load(LoadTarget.GLOBAL, vector.address, head // 2, 0),
        "address": vector.address * WORD_BYTES + half, "stride_1d": (1 << 34) - half,
        "stride_2d": 2 * half, "loops_1d": 2, "loops_2d": vector.blocks // head,
    }  # fmt: skip


def _store(address: int, words: int, entry: int, after: Queue) -> dict[str, int]:
    return {
        "queue": Queue.ST, "wait": _mask(after), "address": address * WORD_BYTES,
        "length": words * WORD_BYTES, "bank_address": entry,
    }  # fmt: skip
