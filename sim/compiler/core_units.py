"""Instructions of one unit of the Verilog core: operands from memory, one task, results to memory.

A vector in memory is a word of 16 elements of 16 bits a block; INT8 elements are sign-extended. A
unit loads its operands, computes and stores; `plait.sim.compiler.relocatable.segments` joins units.
"""

from __future__ import annotations

from typing import Any

from plait.errors import SpecError
from plait.sim.compiler.core import GLOBAL_REGION_BITS, WORD_BYTES, VerilogCore
from plait.sim.compiler.cycles import misc_cycles, multiply_cycles
from plait.sim.compiler.instruction import (
    FIELD_BITS,
    INSTRUCTION_WORDS,
    LoadTarget,
    MiscOperation,
    Queue,
)
from plait.sim.compiler.kept import WEIGHT_BITS, count_words
from plait.sim.compiler.relocatable import (
    CHANNELS_A_WORD,
    CoreUnit,
    Multiply,
    Special,
    Symbol,
    Vector,
    Weights,
)
from plait.sim.compiler.stream import mask
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["TWO_OPERANDS", "blocks_at_once", "groups_at_once", "multiply_unit", "special_unit"]

TWO_OPERANDS = (MiscOperation.ADD, MiscOperation.MUL, MiscOperation.RMS_NORM)

_FROM_MISC, _FROM_MULTIPLY = 1 << GLOBAL_REGION_BITS, 2 << GLOBAL_REGION_BITS
_BIAS_WORDS = BLOCK // CHANNELS_A_WORD  # of a group of outputs
_ADDRESS_BITS = FIELD_BITS["address"][Queue.LD]

Row = dict[str, Any]


def special_unit(core: VerilogCore, name: str, task: Special, **origin: Any) -> CoreUnit:
    """One special function from memory to memory."""
    left, right, out = task.left, task.right, task.out
    is_pair = task.operation in TWO_OPERANDS
    if is_pair and (right is None or right.blocks != left.blocks):
        raise SpecError("needs two vectors of one length", where=f"{name}: {task.operation.name}")
    _fits(core, name, "global_entries", (2 if is_pair else 1) * left.blocks)
    rows = [_load(LoadTarget.BIAS, task.constants, 0, 1, 0)]
    if task.head_blocks:
        rows.append(_load_exchanged(left, task.head_blocks))
    else:
        rows.append(_load(LoadTarget.GLOBAL, left.symbol, left.first_block, left.blocks, 0))
    if is_pair and right is not None:
        first = right.first_block
        rows.append(_load(LoadTarget.GLOBAL, right.symbol, first, right.blocks, left.blocks))
    rows[-1]["release"] = mask([Queue.MISC])
    rows.append(
        {
            "queue": Queue.MISC, "wait": mask([Queue.LD]), "release": mask([Queue.ST]),
            "operation": task.operation, "k_blocks": left.blocks, "b_address": left.blocks,
            "out_address": _FROM_MISC, "work": misc_cycles(task.operation, left.blocks),
        }
    )  # fmt: skip
    rows.append(_store(out, _FROM_MISC, Queue.MISC))
    return CoreUnit.of(name, task, rows, **origin)


def multiply_unit(core: VerilogCore, name: str, task: Multiply, **origin: Any) -> CoreUnit:
    """Rows times groups of outputs, 16 outputs an instruction, weights loaded ahead."""
    weights, count = task.weights, len(task.rows)
    wanted = core.rows if task.is_tile else 1
    if count != wanted:
        raise SpecError("not a tile of rows", where=name, got=count, expected=f"{wanted} rows")
    queue = Queue.MM if task.is_tile else Queue.MV
    row_buffer = "b_entries" if queue == Queue.MV else "a_bank_entries"
    _fits(core, name, row_buffer, weights.k_blocks)
    _fits(core, name, "bias_entries", _BIAS_WORDS * len(task.groups))
    _fits(core, name, "global_entries", count * len(task.groups))
    if weights.kept is not None:
        _fits(core, name, "meta_entries", weights.k_blocks)
        _fits(core, name, "fsb_entries", count_words(weights.k_blocks))
    most = max(1, int(weights.code_words[task.groups.start : task.groups.stop].max()))
    weight_buffer = "a_entries" if queue == Queue.MV else "b_entries"
    _fits(core, name, weight_buffer, most)
    if queue == Queue.MV:
        row = task.rows[0]
        rows = [_load(LoadTarget.B, row.symbol, row.first_block, weights.k_blocks, 0)]
    else:
        rows = [
            {
                **_load(LoadTarget.A, row.symbol, row.first_block, weights.k_blocks, 0),
                "channel": bank,
            }
            for bank, row in enumerate(task.rows)
        ]
    ahead = min(getattr(core, weight_buffer) // most, len(task.groups))
    if weights.kept is not None:
        ahead = min(ahead, core.meta_entries // weights.k_blocks)
        ahead = min(ahead, core.fsb_entries // count_words(weights.k_blocks))
    rows += _groups(core, task, queue, ahead, most)
    rows.append(_store(task.out, _FROM_MULTIPLY, queue))
    return CoreUnit.of(name, task, rows, **origin)


def groups_at_once(core: VerilogCore, weights: Weights) -> int:
    """Groups of outputs of one row that a unit may have: results, constants, instructions."""
    most = max(1, int(weights.code_words.max()))
    words = INSTRUCTION_WORDS
    loads = 0 if weights.kept is None else 2
    loads += 1 - (-most // core.a_bank_entries)  # banks that the codes may touch
    each = loads * words[Queue.LD] + words[Queue.MV]
    once = 2 * words[Queue.LD] + words[Queue.ST] + words[Queue.SYS]
    by_program = (core.segment_words - once) // each
    return max(1, min(core.global_entries, core.bias_entries // _BIAS_WORDS, by_program))


def blocks_at_once(core: VerilogCore, operation: MiscOperation) -> int:
    """Blocks of a special function that a unit may have."""
    return core.global_entries // (2 if operation in TWO_OPERANDS else 1)


def _groups(core: VerilogCore, task: Multiply, queue: Queue, ahead: int, most: int) -> list[Row]:
    """Loads and multiplications of every group, the loads at most ``ahead`` groups before."""
    weights, count = task.weights, len(task.rows)
    is_sparse, k_blocks = weights.kept is not None, weights.k_blocks
    number_words = count_words(k_blocks)
    first, groups = task.first_group, len(task.groups)
    codes_at = int(weights.code_words[:first].sum())
    rows = [_load(LoadTarget.BIAS, weights.channels, _BIAS_WORDS * first, _BIAS_WORDS * groups, 0)]
    for place, group in enumerate(task.groups):
        slot = place % ahead
        words = int(weights.code_words[group])
        loads = []
        if is_sparse:
            at = group * k_blocks
            loads.append(_load(LoadTarget.META, weights.masks, at, k_blocks, slot * k_blocks))
            at, entry = group * number_words, slot * number_words
            loads.append(_load(LoadTarget.FSB, weights.numbers, at, number_words, entry))
        if words:
            target = LoadTarget.A if queue == Queue.MV else LoadTarget.B
            loads += _code_loads(core, target, weights.codes, codes_at, words, slot * most)
        codes_at += words
        if place >= ahead:
            loads[0]["wait"] = mask([queue])
        loads[-1]["release"] = mask([queue])
        releases = [Queue.LD] * (place + ahead < groups) + [Queue.ST] * (place == groups - 1)
        rows += loads
        rows.append(
            {
                "queue": queue, "wait": mask([Queue.LD]), "release": mask(releases),
                "k_blocks": k_blocks, "output": 1, "bias": 1, "sparse": int(is_sparse),
                "weight_format": WEIGHT_BITS.index(weights.bits),
                "meta_address": slot * k_blocks, "fsb_address": slot * number_words,
                "work": multiply_cycles(weights.counts[group], True, count),
                "bias_address": _BIAS_WORDS * place,
                "out_address": _FROM_MULTIPLY + count * place,
                "a_address" if queue == Queue.MV else "b_address": slot * most,
            }
        )  # fmt: skip
    return rows


def _code_loads(
    core: VerilogCore, target: LoadTarget, codes: Symbol, at: int, words: int, entry: int
) -> list[Row]:
    """Loads of consecutive words; for A, one a bank that they touch."""
    if target == LoadTarget.B:
        return [_load(target, codes, at, words, entry)]
    loads = []
    while words:
        bank, low = divmod(entry, core.a_bank_entries)
        part = min(words, core.a_bank_entries - low)
        loads.append({**_load(target, codes, at, part, low), "channel": bank})
        at, words, entry = at + part, words - part, entry + part
    return loads


def _fits(core: VerilogCore, where: str, buffer: str, words: int) -> None:
    limit = getattr(core, buffer)
    if words > limit:
        raise SpecError(
            f"does not fit buffers.{_KEYS.get(buffer, buffer)}", where=where,
            got=f"{words} words of {WORD_BYTES} bytes", expected=f"at most {limit}",
        )  # fmt: skip


_KEYS = {"a_bank_entries": "a_entries"}  # size of the core -> key of the description


def _load(target: LoadTarget, symbol: Symbol, at: int, words: int, entry: int) -> Row:
    return {
        "queue": Queue.LD, "mode": target, "symbol": symbol, "address": at * WORD_BYTES,
        "length": words * WORD_BYTES, "bank_address": entry,
    }  # fmt: skip


def _load_exchanged(vector: Vector, head: int) -> Row:
    """Load heads of some blocks, the second half of each before its first."""
    half = head // 2 * WORD_BYTES
    row = _load(LoadTarget.GLOBAL, vector.symbol, vector.first_block, head // 2, 0)
    return row | {
        "address": row["address"] + half, "stride_1d": (1 << _ADDRESS_BITS) - half,
        "stride_2d": 2 * half, "loops_1d": 2, "loops_2d": vector.blocks // head,
    }  # fmt: skip


def _store(out: Vector, entry: int, after: Queue) -> Row:
    return {
        "queue": Queue.ST, "wait": mask([after]), "symbol": out.symbol,
        "address": out.first_block * WORD_BYTES, "length": out.blocks * WORD_BYTES,
        "bank_address": entry,
    }  # fmt: skip
