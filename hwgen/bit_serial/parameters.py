"""A description as parameters of the Verilog core, checked against the core's own list."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plait.errors import SpecError
from plait.hwgen.bit_serial.layout import Geometry
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.sim.spec.base import Phase
from plait.sim.spec.bit_serial import Array, BitSerial

__all__ = ["CORE", "check_guard_bits", "core_parameters", "geometry"]

CORE = "bit_serial/plait_bs_core.sv"
_CODE_BITS = 8  # widest stored code
_INT8_BITS = 8
_FP16_MANTISSA_BITS = 11
_GOLDEN_BITS = 62  # widest sum or product of the golden model

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

# Where a bound is broken: the field to change.
_FIELDS = {
    "WeightBufferSteps": "buffers.weight_bytes",
    "ActivationBufferSteps": "buffers.activation_bytes",
    "ScaleBufferGroups": "buffers.scale_bytes",
    "AccumulatorBits": "pe.accumulator_bits",
    "OutputAccumulatorBits": "pe.output_accumulator_bits",
    "GuardBits": "pe.guard_bits",
    "ScaleBits": "pe.scale_bits",
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
    _check(machine.name, values)
    return values


def check_guard_bits(machine: str, guard_bits: int, largest_exponent: int) -> None:
    """Refuse too few guard bits for INT8 activations, which shift by the largest term exponent."""
    least = max(0, largest_exponent + _INT8_BITS - _FP16_MANTISSA_BITS)
    if guard_bits < least:
        raise _out_of_bounds(machine, "GuardBits", guard_bits, f"{least} or more for these formats")


def _check(machine: str, values: Mapping[str, int]) -> None:
    """Refuse in one line what the Verilog, or the golden model beside it, would refuse later."""
    layout = geometry(values)
    least = {
        # it must bridge the headers between two tiles, or run dry though the memory never stalls
        "WeightBufferSteps": 2 * layout.header_words + 2 * layout.plane_words + 4,
        "ScaleBufferGroups": 4,
        "ActivationBufferSteps": 1,
        # exponents stay within their field while the mantissa takes its part of the growth
        "AccumulatorBits": values["GuardBits"] + 8,
    }
    most = {
        "ScaleBits": 8,  # integers of 40 bits are exact up to there
        "AccumulatorBits": _GOLDEN_BITS - values["ScaleBits"],
        "OutputAccumulatorBits": _GOLDEN_BITS,
    }
    for name, bound in least.items():
        if values[name] < bound:
            raise _out_of_bounds(machine, name, values[name], f"{bound} or more")
    for name, bound in most.items():
        if values[name] > bound:
            raise _out_of_bounds(machine, name, values[name], f"at most {bound}")


def _out_of_bounds(machine: str, name: str, value: int, expected: str) -> SpecError:
    is_buffer = name.endswith(("Steps", "Groups"))
    return SpecError(
        f"{'the buffer holds too little' if is_buffer else 'there is no Verilog'} for this machine",
        where=f"{machine}: {_FIELDS[name]} ({name})",
        got=value,
        expected=expected,
    )
