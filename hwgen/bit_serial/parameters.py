"""A description as parameters of the Verilog core, checked against the core's own list."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plait.errors import SpecError
from plait.hwgen.bit_serial.layout import Geometry
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.sim.spec.base import Phase
from plait.sim.spec.bit_serial import Array, BitSerial

__all__ = ["CORE", "core_parameters", "geometry"]

CORE = "bit_serial/plait_bs_core.sv"
_CODE_BITS = 8  # widest stored code

# Each parameter of the core and the schema field, or fields, it comes from.
_FROM_SCHEMA: Mapping[str, Callable[[BitSerial, Array], int]] = {
    "Rows": lambda machine, array: array.rows,
    "Columns": lambda machine, array: array.columns,
    "Lanes": lambda machine, array: machine.pe.lanes,
    "AccumulatorBits": lambda machine, array: machine.pe.accumulator_bits,
    "GuardBits": lambda machine, array: machine.pe.guard_bits,
    "OutputAccumulatorBits": lambda machine, array: machine.pe.output_accumulator_bits,
    "ScaleBits": lambda machine, array: machine.pe.scale_bits,
    "MaxTerms": lambda machine, array: machine.pe.max_terms,
    "MaxCodeBits": lambda machine, array: _CODE_BITS,
    "PortBits": lambda machine, array: machine.dram.port_bits_per_cycle,
    "WeightBufferSteps": lambda machine, array: (
        machine.buffers.weight_bytes // (array.rows * machine.pe.lanes * _CODE_BITS // 8)
    ),
    "ActivationBufferSteps": lambda machine, array: (
        machine.buffers.activation_bytes // (array.columns * machine.pe.lanes * 2)
    ),
    "ScaleBufferGroups": lambda machine, array: machine.buffers.scale_bytes // (array.rows * 2),
}


def geometry(parameters: Mapping[str, int]) -> Geometry:
    """What decides the layout of the machine's memory."""
    return Geometry(
        rows=parameters["Rows"],
        columns=parameters["Columns"],
        lanes=parameters["Lanes"],
        port_bits=parameters["PortBits"],
        activation_steps=parameters["ActivationBufferSteps"],
    )


def core_parameters(machine: BitSerial, phase: Phase, core: str | None = None) -> dict[str, int]:
    """Give every parameter of the core its value, in the core's order.

    Args:
        core: text of the core's Verilog; the library's unless a test gives another.
    """
    if machine.pe.kind != "bit_serial":
        raise SpecError(
            "there is no Verilog of a whole machine with such PEs",
            where=f"{machine.name}: pe.kind",
            got=machine.pe.kind,
            expected="bit_serial",
        )
    names = parameter_names((LIBRARY / CORE).read_text() if core is None else core)
    unknown = [name for name in names if name not in _FROM_SCHEMA]
    if unknown:
        raise SpecError(f"the schema has no field for the Verilog's parameter {unknown[0]}")
    array = machine.array.at(phase)
    values = {name: _FROM_SCHEMA[name](machine, array) for name in names}
    for name, value in values.items():
        if name.endswith(("Steps", "Groups")) and value < 2:
            raise SpecError(
                "the buffer holds too little for this array",
                where=f"{machine.name}: {name}",
                got=value,
                expected="2 or more",
            )
    return values
