"""The core as there is Verilog of it: which machines have one, and its buffers in port words."""

from __future__ import annotations

from dataclasses import dataclass

from plait.errors import SpecError
from plait.sim.spec.sparse_dsp import BLOCK, SparseDsp

__all__ = [
    "GLOBAL_REGION_BITS", "INSTRUCTION_WORD_BYTES", "WORD_BYTES", "VerilogCore", "core_of",
]  # fmt: skip

WORD_BYTES = 2 * BLOCK
"""Of the memory port and of a buffer's entry: a block of 16 elements of 16 bits."""

INSTRUCTION_WORD_BYTES = 4

GLOBAL_REGION_BITS = 10
"""An entry of the global buffer is a region (loaded, of MISC, of MM and MV) and a word in it."""

_SEGMENT_ENTRIES = 1024
_QUEUE_DEPTH = 8
_CHANNEL_BYTES = 8  # bias of 32 bits, multiplier, shift; the schema's entry is 16 biases
_LARGEST_A = 4096  # words in all rows: 12 address bits


@dataclass(frozen=True, slots=True)
class VerilogCore:
    """Sizes of the Verilog core, named as its parameters; entries are words of the port.

    Attributes:
        port_bits: of a word.
        rows: of an MM; also banks of A.
        dsp48e2: 1 if its DSPs are instances of the primitive.
        segment_entries: of the buffer that holds a segment of the program.
        queue_depth: instructions that a queue holds.
    """

    port_bits: int
    rows: int
    dsp48e2: int
    a_bank_entries: int
    b_entries: int
    meta_entries: int
    fsb_entries: int
    bias_entries: int
    global_entries: int
    segment_entries: int = _SEGMENT_ENTRIES
    queue_depth: int = _QUEUE_DEPTH

    @property
    def a_entries(self) -> int:
        """Words of A, all banks."""
        return self.a_bank_entries * self.rows

    @property
    def segment_words(self) -> int:
        """32-bit words of instructions that a segment holds."""
        return self.segment_entries * WORD_BYTES // INSTRUCTION_WORD_BYTES


def core_of(machine: SparseDsp) -> VerilogCore:
    """Give the sizes; refuse in one line what the Verilog would refuse, or does not have."""
    buffers, memory = machine.buffers, machine.memory
    core = VerilogCore(
        port_bits=round(8 * memory.channels * memory.channel_bytes_per_s / machine.clock_hz),
        rows=machine.core.mm_rows,
        dsp48e2=int(machine.core.dsp48e2),
        a_bank_entries=buffers.a_entries * BLOCK // WORD_BYTES,
        b_entries=buffers.b_entries * machine.core.mm_columns * BLOCK // WORD_BYTES,
        meta_entries=buffers.meta_entries * BLOCK // WORD_BYTES,
        fsb_entries=buffers.fsb_entries // WORD_BYTES,
        bias_entries=buffers.bias_entries * BLOCK * _CHANNEL_BYTES // WORD_BYTES,
        global_entries=buffers.global_entries,
    )
    _check(machine, core)
    return core


def _check(machine: SparseDsp, core: VerilogCore) -> None:
    unit, banks = machine.core, core.a_bank_entries
    rules = (
        (machine.cores.count == 1, "cores.count", machine.cores.count, "1"),
        (unit.mm_columns == 2, "core.mm_columns", unit.mm_columns, "2"),
        (unit.mv_columns == 2, "core.mv_columns", unit.mv_columns, "2"),
        (unit.misc_lanes == BLOCK, "core.misc_lanes", unit.misc_lanes, str(BLOCK)),
        (unit.mm_rows in (1, 2, 4, 8), "core.chains", unit.mm_rows, "1, 2, 4 or 8 rows of MM"),
        (
            core.port_bits == 8 * WORD_BYTES,
            "memory.channel_bytes_per_s",
            core.port_bits,
            f"{8 * WORD_BYTES} bits a cycle",
        ),
        (
            banks & (banks - 1) == 0 and core.a_entries <= _LARGEST_A,
            "buffers.a_entries",
            machine.buffers.a_entries,
            f"a power of two, and at most {_LARGEST_A} words of the port in all rows",
        ),
        (
            core.global_entries <= 1 << GLOBAL_REGION_BITS,
            "buffers.global_entries",
            core.global_entries,
            f"at most {1 << GLOBAL_REGION_BITS}",
        ),
    )
    for holds, where, got, expected in rules:
        if not holds:
            raise SpecError(
                "there is no Verilog of such a machine",
                where=f"{machine.name}: {where}",
                got=got,
                expected=expected,
            )
