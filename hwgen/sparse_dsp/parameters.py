"""A description as parameters of the Verilog core, checked against the core's own list."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from plait.errors import SpecError
from plait.hwgen.verilog import LIBRARY, parameter_names
from plait.sim.compiler.core import VerilogCore, core_of
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["CORE", "core_from", "core_parameters"]

CORE = "sparse_dsp/plait_sd_core.sv"
_NAMES = {
    "".join(part.capitalize() for part in field.name.split("_")): field.name
    for field in dataclasses.fields(VerilogCore)
}


def core_parameters(machine: SparseDsp, core: str | None = None) -> dict[str, int]:
    """Give every parameter of the core its value, in the core's order.

    Args:
        core: text of the core's Verilog; the library's unless a test gives another.
    """
    names = parameter_names((LIBRARY / CORE).read_text() if core is None else core)
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise SpecError(f"the schema has no field for the Verilog's parameter {unknown[0]}")
    sizes = core_of(machine)
    return {name: getattr(sizes, _NAMES[name]) for name in names}


def core_from(parameters: Mapping[str, int]) -> VerilogCore:
    """Undo `core_parameters`."""
    return VerilogCore(**{_NAMES[name]: value for name, value in parameters.items()})
