"""Workload -> plans of our own: any graph, one core's share, nothing moved twice.

How these differ from FlightLLM's published programs is listed, with the effect of each, in
`plait.sim.families.sparse_dsp_own`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from plait.errors import SpecError
from plait.sim.compiler.instruction import LoadTarget, MiscOperation, Path, Queue
from plait.sim.compiler.plan import Misc, Nest, Pass, Transfer, UnitPlan
from plait.sim.compiler.split import split_k
from plait.sim.spec.sparse_dsp import BLOCK, SparseDsp

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload

__all__ = ["plans"]

_FUNCTIONS = {
    "add": MiscOperation.ADD,
    "mul": MiscOperation.MUL,
    "silu": MiscOperation.SILU,
    "relu": MiscOperation.RELU,
    "rms_norm": MiscOperation.RMS_NORM,
    "layer_norm": MiscOperation.LAYER_NORM,
}
_PASSES = {"norm": 2, "topk": 2, "rope": 3}
_FUSED = ("activation", "elementwise", "rope")
_LARGEST_BLOCKS = (1 << 14) - 1


def plans(workload: Workload, machine: SparseDsp) -> list[UnitPlan]:
    """Plan a step, every unit once with its count, in the order of the ops."""
    return _Planner(workload, machine).plans()


class _Planner:
    def __init__(self, workload: Workload, machine: SparseDsp) -> None:
        self.w, self.c, self.machine = workload, workload.columns, machine
        self.cores = machine.cores.count
        self.on_chip = workload.phase == "decode" and machine.storage.always_on_chip
        self.fused = self._fusions()

    def plans(self) -> list[UnitPlan]:
        inside = {row for rows in self.fused.values() for row in rows}
        found = []
        for row, kind in enumerate(self.c["kind"]):
            if row in inside:
                continue
            if kind in ("linear", "experts"):
                found.append(self._linear(row))
            elif kind == "attention":
                found += self._attention(row)
            else:
                found.append(self._pointwise(row))
        return found

    # --- fusion ----------------------------------------------------------------------------

    def _fusions(self) -> dict[int, list[int]]:
        """Linear -> the pointwise ops that follow it over the same numbers."""
        fused: dict[int, list[int]] = {}
        recent: list[int] = []  # linears since the last op that is not pointwise
        for row, kind in enumerate(self.c["kind"]):
            if kind == "linear":
                recent.append(row)
            elif kind not in _FUSED:
                recent = []
            elif (linear := self._producer(row, recent)) is not None:
                fused.setdefault(linear, []).append(row)
        return fused

    def _producer(self, row: int, recent: list[int]) -> int | None:
        """The latest linear as wide as a pointwise op; of keys for the rotation of keys."""
        c = self.c
        for linear in reversed(recent):
            outputs = float(c["tokens"][linear]) * int(c["cout"][linear])
            same = outputs == float(c["elements"][row]) and c["count"][linear] == c["count"][row]
            is_key = bool(c["kv_cout"][linear])
            if same and (c["kind"][row] != "rope" or is_key == (c["function"][row] == "key")):
                return linear
        return None

    def _misc(self, rows: list[int], blocks: int) -> tuple[Misc, ...]:
        found: list[Misc] = []
        for row in rows:
            kind = str(self.c["kind"][row])
            operation = _FUNCTIONS.get(str(self.c["function"][row]), _default(kind))
            found += [Misc(operation, blocks)] * (3 if kind == "rope" else 1)
        return tuple(found)

    # --- linears ----------------------------------------------------------------------------

    def _linear(self, row: int) -> UnitPlan:
        c = self.c
        rows = -(-float(c["tokens"][row]) // 1)
        times = int(-(-float(c["experts_touched"][row]) // 1)) if c["kind"][row] == "experts" else 1
        inputs, outputs = int(c["cin"][row]), self._share(int(c["cout"][row]))
        core = self.machine.core
        k_blocks = -(-inputs // BLOCK)
        by_vector = -(-outputs // core.mv_outputs) * rows
        by_tiles = -(-outputs // BLOCK) * -(-rows // core.mm_rows)
        leave = None
        if by_vector <= by_tiles:
            parts = self._vectors(row, int(rows), k_blocks, outputs)
            leave = self._leave(row, rows)
        else:
            parts = self._tiles(row, int(rows), k_blocks, outputs)
        return UnitPlan(str(c["op"][row]), row, int(c["count"][row]) * times, parts, leave)

    def _share(self, outputs: int) -> int:
        """Outputs of the busiest core, in whole blocks."""
        return -(-outputs // (BLOCK * self.cores)) * BLOCK

    def _leave(self, row: int, rows: float) -> Transfer | None:
        """New keys and values go to memory, logits to the host; the rest stays where it can."""
        c = self.c
        if not self.on_chip:
            return None  # stored with every group
        bits = float(c["activation_bits"][row])
        if c["kv_cout"][row]:
            size = rows * int(c["kv_cout"][row]) * bits / 8 / self.cores
        elif c["is_output"][row]:
            size = rows * int(c["cout"][row]) * bits / 8 / self.cores
        else:
            return None
        return Transfer(size, Path.ONE_CHANNEL)

    def _weights(self, row: int, outputs: int) -> dict[str, Any]:
        """Density and bytes of one K block of some outputs."""
        density = self.machine.density_of(str(self.c["op"][row]))
        values = outputs * BLOCK
        block = values * density * float(self.c["weight_bits"][row]) / 8
        index = 0.0
        kind = self.machine.storage.index
        if density < 1 and kind != "none":
            places = values / 8 if kind == "mask" else values * density / 2
            index = places + values / (BLOCK * BLOCK)  # FSB: a byte a block of 16 x 16
        return {"density": density, "block_bytes": block, "index_bytes": index}

    def _vectors(self, row: int, rows: int, k_blocks: int, outputs: int) -> tuple[Nest, ...]:
        """MV: all outputs of a group at once, one row after another."""
        group = self.machine.core.mv_outputs
        groups = -(-outputs // group)
        weights = self._weights(row, group)
        pieces, depth = self._pieces(k_blocks, rows, weights["block_bytes"])
        act = self._activation_bytes(row)
        fits = k_blocks <= self.machine.buffers.b_entries
        enter = () if self.on_chip or not fits else (self._vector(rows * k_blocks * BLOCK * act),)
        blocks = group // BLOCK
        fused = self.fused.get(row, [])
        operands = self._operands(fused)
        store = None if self.on_chip else Transfer(group * rows * act, Path.ONE_CHANNEL)
        return (
            Nest(
                Queue.MV, pieces, depth, groups,
                path=Path.ALL_CHANNELS, products=rows, last_part=_last(outputs, group),
                vector_bytes=0.0 if fits else BLOCK * act * rows, enter=enter,
                operand=self._operand(operands * group * rows * act), store=store,
                misc=self._misc(fused, blocks), has_bias=bool(self.c["has_bias"][row]), **weights,
            ),
        )  # fmt: skip

    def _pieces(self, k_blocks: int, rows: int, block_bytes: float) -> tuple[tuple[int, ...], int]:
        """Several rows need the whole sum in the buffer; one row takes it in pieces."""
        if rows == 1:
            split = split_k(k_blocks, Queue.MV, self.machine)
            return split.pieces, max(2, split.depth)
        core, channels = self.machine.core, self.machine.memory.channels
        entries = -(-block_bytes * k_blocks // (core.mm_rows * BLOCK))
        depth = int(self.machine.buffers.a_entries // max(entries, 1))
        if depth < 1:
            raise SpecError(
                "the weights of one group do not fit the A buffer", where=self.machine.name,
                got=int(entries), expected=f"at most {self.machine.buffers.a_entries} entries",
                hint=f"of {channels} channels",
            )  # fmt: skip
        return (k_blocks,), depth

    def _tiles(self, row: int, rows: int, k_blocks: int, outputs: int) -> tuple[Nest, ...]:
        """MM: 16 outputs at once, weights loaded once for all the row tiles that fit."""
        core, buffers = self.machine.core, self.machine.buffers
        tiles = -(-rows // core.mm_rows)
        split = split_k(k_blocks, Queue.MM, self.machine)
        resident = 1
        if self.machine.storage.weight_reuse and len(split.pieces) == 1:
            resident = max(1, min(tiles, buffers.a_entries // k_blocks, buffers.global_entries))
        act = self._activation_bytes(row)
        fused = self.fused.get(row, [])
        full = Nest(
            Queue.MM, split.pieces, max(1, split.depth), -(-outputs // BLOCK),
            path=Path.ONE_CHANNEL, products=resident,
            enter=(self._activations(resident * core.mm_rows * k_blocks * BLOCK * act),),
            operand=self._operand(self._operands(fused) * resident * core.mm_rows * BLOCK * act),
            store=Transfer(resident * core.mm_rows * BLOCK * act, Path.ALL_CHANNELS),
            misc=self._misc(fused, core.mm_rows), has_bias=bool(self.c["has_bias"][row]),
            repeats=tiles // resident, **self._weights(row, BLOCK),
        )  # fmt: skip
        rest = tiles % resident
        if not rest:
            return (full,)
        part = rest / resident
        last = dataclasses.replace(
            full, products=rest, repeats=1, enter=tuple(_scaled(t, part) for t in full.enter),
            operand=_scaled(full.operand, part) if full.operand else None,
            store=_scaled(full.store, part) if full.store else None,
        )  # fmt: skip
        return (full, last)

    def _operands(self, fused: list[int]) -> int:
        """Vectors that fused operations take besides the product."""
        if self.on_chip:
            return 0
        return sum(
            2 if self.c["kind"][r] == "rope" else int(self.c["inputs"][r]) - 1 for r in fused
        )

    def _operand(self, size: float) -> Transfer | None:
        return Transfer(size, Path.ALL_CHANNELS) if size else None

    def _vector(self, size: float) -> Transfer:
        """Other cores made parts of a vector, so it comes across channels."""
        path = Path.CROSS_CHANNEL if self.cores > 1 else Path.ONE_CHANNEL
        return Transfer(size, path, LoadTarget.B)

    def _activations(self, size: float) -> Transfer:
        return Transfer(size, Path.ALL_CHANNELS, LoadTarget.A)

    def _activation_bytes(self, row: int) -> float:
        return float(self.c["activation_bits"][row]) / 8

    # --- attention ----------------------------------------------------------------------------

    def _attention(self, row: int) -> list[UnitPlan]:
        name, count = str(self.c["op"][row]), int(self.c["count"][row])
        make = self._decode_attention if self.w.phase == "decode" else self._prefill_attention
        times, scores, values = make(row)
        return [
            UnitPlan(f"{name} {part}", row, count * times, nests, streamed="kv_bytes")
            for part, nests in (("scores", scores), ("values", values))
        ]

    def _decode_attention(self, row: int) -> tuple[int, tuple[Nest, ...], tuple[Nest, ...]]:
        """The query heads of a KV head are the rows of its products."""
        c, core = self.c, self.machine.core
        keys, head = int(c["keys"][row]), int(c["head_dim"][row])
        kv_heads = -(-int(c["kv_heads"][row]) // self.cores) * self.w.batch
        rows = int(c["heads"][row]) // int(c["kv_heads"][row])
        act, kv = self._activation_bytes(row), float(c["kv_bits"][row]) / 8
        group = core.mv_outputs
        key_blocks, head_blocks = -(-keys // BLOCK), -(-head // BLOCK)
        per_head = -(-keys // group)
        score_pieces, score_depth = self._pieces(head_blocks, rows, group * BLOCK * kv)
        # All groups of a head but its last are full; the mean part keeps bytes exact.
        part = key_blocks * BLOCK / (per_head * group)
        queries, probabilities = rows * kv_heads * head * act, rows * kv_heads * keys * act
        scores = Nest(
            Queue.MV, score_pieces, score_depth, per_head * kv_heads,
            block_bytes=group * BLOCK * kv * part, path=Path.ALL_CHANNELS, products=rows,
            period=per_head, misc=self._softmax(key_blocks),
            enter=() if self.on_chip else (self._vector(queries),),
            store=None if self.on_chip
            else Transfer(rows * keys * act, Path.ONE_CHANNEL),
        )  # fmt: skip
        value_pieces, value_depth = self._pieces(key_blocks, rows, head_blocks * 256 * kv)
        head_groups = -(-head // group)
        values = Nest(
            Queue.MV, value_pieces, value_depth, head_groups * kv_heads,
            block_bytes=head_blocks * BLOCK * BLOCK * kv / head_groups, path=Path.ALL_CHANNELS,
            products=rows, period=head_groups,
            enter=() if self.on_chip else (self._vector(probabilities),),
            store=None if self.on_chip else Transfer(rows * head * act, Path.ONE_CHANNEL),
        )  # fmt: skip
        return 1, (scores,), (values,)

    def _prefill_attention(self, row: int) -> tuple[int, tuple[Nest, ...], tuple[Nest, ...]]:
        """Tiles of rows against the keys that the last row of each may see."""
        c, core = self.c, self.machine.core
        head, query = int(c["head_dim"][row]), self.w.query
        times = -(-int(c["heads"][row]) // self.cores) * self.w.batch
        act, kv = self._activation_bytes(row), float(c["kv_bits"][row]) / 8
        head_blocks, rows = -(-head // BLOCK), core.mm_rows
        split = split_k(head_blocks, Queue.MM, self.machine)
        scores, values = [], []
        for begin in range(0, query, rows):
            keys = self._keys_of_tile(row, begin, min(begin + rows, query))
            blocks = -(-keys // BLOCK)
            wide = split_k(blocks, Queue.MM, self.machine)
            scores.append(
                Nest(
                    Queue.MM,
                    split.pieces,
                    split.depth,
                    blocks,
                    block_bytes=256 * kv,
                    path=Path.ONE_CHANNEL,
                    period=blocks,
                    misc=self._softmax(blocks, rows),
                    enter=(self._activations(rows * head * act),),
                    store=Transfer(rows * blocks * BLOCK * act, Path.ALL_CHANNELS),
                )
            )
            values.append(
                Nest(
                    Queue.MM, wide.pieces, wide.depth, head_blocks, block_bytes=256 * kv,
                    path=Path.ONE_CHANNEL,
                    enter=(self._activations(rows * blocks * BLOCK * act),),
                    store=Transfer(rows * BLOCK * act, Path.ALL_CHANNELS),
                )
            )  # fmt: skip
        return times, tuple(scores), tuple(values)

    def _keys_of_tile(self, row: int, begin: int, end: int) -> int:
        """Keys that rows begin .. end - 1 of a sequence see together."""
        context, window = int(self.w.context), int(self.c["window"][row])
        before = context - self.w.query
        last = before + end if self.c["causal"][row] else context
        return min(last, window + end - begin - 1) if window else last

    def _softmax(self, blocks: int, rows: int = 1) -> tuple[Misc, ...]:
        """Softmax of some rows, as many an instruction as its bits allow."""
        at_once = max(1, _LARGEST_BLOCKS // blocks)
        counts = [min(at_once, rows - done) for done in range(0, rows, at_once)]
        return tuple(Misc(MiscOperation.SOFTMAX, n * blocks, 2) for n in counts)

    # --- everything else --------------------------------------------------------------------

    def _pointwise(self, row: int) -> UnitPlan:
        """A pass of the vector units, elements shared out over the cores."""
        c = self.c
        kind = str(c["kind"][row])
        elements = float(c["elements"][row]) / self.cores
        blocks = max(1, int(-(-elements // BLOCK)))
        operation = _FUNCTIONS.get(str(c["function"][row]), _default(kind))
        full, rest = divmod(blocks, _LARGEST_BLOCKS)
        passes = _PASSES.get(kind, 1)
        misc = [Misc(operation, _LARGEST_BLOCKS, passes)] * full
        misc += [Misc(operation, rest, passes)] * bool(rest)
        size = elements * self._activation_bytes(row)
        is_lookup = kind == "embedding"  # its row always comes from memory
        load = None if self.on_chip and not is_lookup else size * int(c["inputs"][row])
        part = Pass(
            Transfer(load, Path.ALL_CHANNELS) if load else None, tuple(misc),
            None if self.on_chip else Transfer(size, Path.ALL_CHANNELS),
        )  # fmt: skip
        return UnitPlan(str(c["op"][row]), row, int(c["count"][row]), (part,))


def _default(kind: str) -> MiscOperation:
    named = {
        "activation": MiscOperation.GELU,
        "topk": MiscOperation.SOFTMAX,
        "rope": MiscOperation.MUL,
    }
    return named.get(kind, MiscOperation.COPY)


def _last(outputs: int, group: int) -> float:
    """Part of the last group that is there."""
    return (outputs - 1) % group / group + 1 / group


def _scaled(transfer: Transfer, part: float) -> Transfer:
    return dataclasses.replace(transfer, size_bytes=transfer.size_bytes * part)
