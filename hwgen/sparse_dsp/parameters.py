"""A description as parameters of the Verilog core, checked against the core's own list."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plait.errors import SpecError
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["CORE", "core_parameters"]

CORE = "sparse_dsp/plait_sd_core.sv"
_WORD_BYTES = 32  # of the memory port: a block of 16 elements of 16 bits
_SEGMENT_ENTRIES = 1024
_QUEUE_DEPTH = 8

# Each parameter of the core and the schema field, or fields, it comes from; entries are port words.
_FROM_SCHEMA: Mapping[str, Callable[[SparseDsp], int]] = {
    "PortBits": lambda machine: round(
        8 * machine.memory.channels * machine.memory.channel_bytes_per_s / machine.clock_hz
    ),
    "Rows": lambda machine: machine.core.mm_rows,
    "Dsp48e2": lambda machine: int(machine.core.dsp48e2),
    "ABankEntries": lambda machine: machine.buffers.a_entries * 16 // _WORD_BYTES,
    "BEntries": lambda machine: (
        machine.buffers.b_entries * machine.core.mm_columns * 16 // _WORD_BYTES
    ),
    "MetaEntries": lambda machine: machine.buffers.meta_entries * 16 // _WORD_BYTES,
    "FsbEntries": lambda machine: machine.buffers.fsb_entries // _WORD_BYTES,
    # beside a bias of 32 bits lie a multiplier and a shift
    "BiasEntries": lambda machine: machine.buffers.bias_entries * 2 * 64 // _WORD_BYTES,
    "GlobalEntries": lambda machine: machine.buffers.global_entries,
    "SegmentEntries": lambda machine: _SEGMENT_ENTRIES,
    "QueueDepth": lambda machine: _QUEUE_DEPTH,
}


def core_parameters(machine: SparseDsp, core: str | None = None) -> dict[str, int]:
    """Give every parameter of the core its value, in the core's order.

    Args:
        core: text of the core's Verilog; the library's unless a test gives another.
    """
    names = parameter_names((LIBRARY / CORE).read_text() if core is None else core)
    unknown = [name for name in names if name not in _FROM_SCHEMA]
    if unknown:
        raise SpecError(f"the schema has no field for the Verilog's parameter {unknown[0]}")
    _check_machine(machine)
    return {name: _FROM_SCHEMA[name](machine) for name in names}


def _check_machine(machine: SparseDsp) -> None:
    """Refuse in one line what the Verilog would refuse, or does not have."""
    core = machine.core
    port = _FROM_SCHEMA["PortBits"](machine)
    banks = _FROM_SCHEMA["ABankEntries"](machine)
    rules = (
        (machine.cores.count == 1, "cores.count", machine.cores.count, "1"),
        (core.mm_columns == 2, "core.mm_columns", core.mm_columns, "2"),
        (core.mv_columns == 2, "core.mv_columns", core.mv_columns, "2"),
        (core.misc_lanes == 16, "core.misc_lanes", core.misc_lanes, "16"),
        (core.mm_rows in (1, 2, 4, 8), "core.chains", core.mm_rows, "1, 2, 4 or 8 rows of MM"),
        (port == 8 * _WORD_BYTES, "memory.channel_bytes_per_s", port, "256 bits a cycle"),
        (
            banks & (banks - 1) == 0 and banks * core.mm_rows <= 4096,
            "buffers.a_entries",
            machine.buffers.a_entries,
            "a power of two, and at most 4096 words of the port in all rows",
        ),
        (
            machine.buffers.global_entries <= 1024,
            "buffers.global_entries",
            machine.buffers.global_entries,
            "at most 1024",
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
