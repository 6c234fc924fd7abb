"""The bit-serial machine, cycle by cycle: its constants, and the recurrence that counts its cycles.

The recurrence itself is in `_bit_serial_recurrence`, imported when it is first asked for: numba
takes half a second to come, and a simulation in closed form needs none of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.families.bit_serial_tiles import Matmul, cut
from plait.sim.families.memory_port import Memory, checked

__all__ = [
    "ARRAY_STAGES",
    "CAUSES",
    "CHANNEL_BUFFER_TILES",
    "DESCRIPTOR_WORDS",
    "INPUT_STAGES",
    "Machine",
    "matmul_counts",
    "schedule",
]

# Every busy cycle has one cause; the order is that of cause_e in plait_bs_machine_pkg.sv.
CAUSES = (
    "descriptor",
    "activation_load",
    "pipeline_fill",
    "compute",
    "memory_stall",
    "dequantisation_stall",
    "output_stall",
    "dequantisation_tail",
    "drain",
)

DESCRIPTOR_WORDS = 2
CHANNEL_BUFFER_TILES = 4  # tiles whose channel steps plait_bs_weight_buffer holds
INPUT_STAGES = 2  # issue to the array's inputs: memory read, then planes -> codes
ARRAY_STAGES = 5  # plait_bs_array: last term to results, besides the scale_bits of the dequantiser


class Machine(NamedTuple):
    """Parameters of plait_bs_core, in its own units."""

    rows: int
    columns: int
    lanes: int
    scale_bits: int
    port_bits: int
    weight_buffer_steps: int
    scale_buffer_groups: int


def matmul_counts(
    machine: Machine,
    code_bits: int,
    terms: int,
    outputs: int,
    inputs: int,
    tokens: int,
    group_size: int,
) -> Matmul:
    """Count tiles, steps and port words of outputs x inputs weights times inputs x tokens."""
    steps = -(-inputs // machine.lanes)
    group_steps = min(max(group_size // machine.lanes, 1), steps)
    array = (machine.rows, machine.columns, machine.lanes)
    job, share = cut(
        array, machine.port_bits, terms, code_bits, outputs, steps, tokens, group_steps
    )
    if share != 1:
        raise SpecError("more bits than this many terms give", where="code_bits", got=code_bits)
    return Matmul(*map(int, job))


def schedule(
    machine: Machine, matmuls: list[Matmul], memory: Memory | None = None
) -> NDArray[np.int64]:
    """Run a list of descriptors; give the cycles by cause, [descriptors, causes].

    >>> machine = Machine(8, 4, 4, 8, 256, 64, 16)
    >>> job = matmul_counts(machine, 4, 2, outputs=8, inputs=128, tokens=4, group_size=128)
    >>> dict(zip(CAUSES, schedule(machine, [job])[0].tolist()))["compute"]
    64
    """
    from plait.sim.families._bit_serial_recurrence import cycles_by_cause

    return cycles_by_cause(machine, matmuls, checked(memory))
