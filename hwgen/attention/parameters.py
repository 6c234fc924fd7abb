"""An attention unit's description as parameters of its Verilog, checked against its own list."""

from __future__ import annotations

from plait.errors import SpecError
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.models.golden.attention import Widths
from plait.sim.spec.offload import AttentionUnit, Offload

__all__ = ["CORE", "device_parameters", "unit_of", "widths_of"]

CORE = "attention/plait_at_device.sv"
_FIELDS = {
    "QueryHeads": "query_heads",
    "HeadSize": "head_size",
    "Lanes": "lanes",
    "PortBits": "port_bits",
    "MaxSegments": "max_segments",
}


def unit_of(machine: Offload) -> AttentionUnit:
    """The part that Verilog is made of."""
    if machine.attention_unit is None:
        raise SpecError(
            "there is no Verilog of it: no unit is described",
            where=f"{machine.name}: attention_unit",
            expected="a section such as that of offload-small",
        )
    return machine.attention_unit


def widths_of(unit: AttentionUnit) -> Widths:
    """Widths that are constants of the package, for the golden model."""
    names = Widths.__dataclass_fields__
    return Widths(**{name: getattr(unit, name) for name in names})


def device_parameters(machine: Offload, core: str | None = None) -> dict[str, int]:
    """Give every parameter of the device its value, in the device's order.

    Args:
        core: text of the device's Verilog; the library's unless a test gives another.
    """
    unit = unit_of(machine)
    names = parameter_names((LIBRARY / CORE).read_text() if core is None else core)
    unknown = [name for name in names if name not in _FIELDS]
    if unknown:
        raise SpecError(f"the schema has no field for the Verilog's parameter {unknown[0]}")
    if 8 * unit.query_heads > unit.port_bits:
        raise SpecError(
            "the score shifts of all heads do not fit a word",
            where=f"{machine.name}: attention_unit.query_heads",
            got=unit.query_heads,
            expected=f"at most {unit.port_bits // 8}",
        )
    return {name: int(getattr(unit, _FIELDS[name])) for name in names}
