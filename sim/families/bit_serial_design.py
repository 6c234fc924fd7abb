"""The parameters of bit-serial machines as arrays, a value a design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.sim.families.design import gather

if TYPE_CHECKING:
    from plait.sim.spec.base import Phase
    from plait.sim.spec.bit_serial import BitSerial

__all__ = ["Design"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# design parameter -> key of the description; {phase} is decode or prefill
_KEYS = {
    "rows": "array.{phase}.rows",
    "columns": "array.{phase}.columns",
    "lanes": "pe.lanes",
    "scale_bits": "pe.scale_bits",
    "pe_energy_pj": "pe.energy_pj",
    "pe_area_um2": "pe.area_um2",
    "weight_buffer_bytes": "buffers.weight_bytes",
    "activation_buffer_bytes": "buffers.activation_bytes",
    "scale_buffer_bytes": "buffers.scale_bytes",
    "banks": "buffers.banks",
    "write_port_bits": "buffers.write_port_bits",
    "port_bits": "dram.port_bits_per_cycle",
    "access_pj": "dram.energy_pj_per_access",
    "access_bits": "dram.access_bits",
    "layout_energy_factor": "technology.layout_energy_factor",
    "vector_lanes": "vector.lanes",
    "clock_hz": "clock_hz",
}


@dataclass(frozen=True, slots=True)
class Design:
    """Parameters of one machine, or of many at once: every array is [designs].

    >>> from plait.sim.spec import load_accelerator
    >>> machine = load_accelerator("bitmod-lossy")
    >>> len(Design.of(machine, "decode", **{"array.decode.rows": [8, 16, 32]}))
    3
    """

    rows: Integers
    columns: Integers
    lanes: Integers
    scale_bits: Integers
    pe_energy_pj: Floats
    pe_area_um2: Floats
    weight_buffer_bytes: Integers
    activation_buffer_bytes: Integers
    scale_buffer_bytes: Integers
    banks: Integers
    write_port_bits: Integers
    port_bits: Integers
    access_pj: Floats
    access_bits: Integers
    layout_energy_factor: Floats
    vector_lanes: Integers
    clock_hz: Floats
    is_serial: bool
    node_nm: int

    @classmethod
    def of(cls, machine: BitSerial, phase: Phase, **varied: ArrayLike) -> Design:
        """Take a machine's parameters, some replaced by arrays of one length.

        Args:
            varied: values by dotted key of the description; the caller has checked their bounds.
        """
        keys = {name: key.format(phase=phase) for name, key in _KEYS.items()}
        return cls(
            **gather(machine, keys, varied),
            is_serial=machine.pe.kind == "bit_serial",
            node_nm=machine.technology.node_nm,
        )

    def __len__(self) -> int:
        """Return the number of designs."""
        return len(self.rows)

    @staticmethod
    def keys(phase: Phase) -> list[str]:
        """Keys of the description that may be arrays."""
        return [key.format(phase=phase) for key in _KEYS.values()]

    @property
    def pes(self) -> Integers:
        """Number of PEs."""
        return self.rows * self.columns
