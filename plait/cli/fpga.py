"""`plait area` of a machine on an FPGA."""

from __future__ import annotations

from dataclasses import asdict

from plait import api
from plait.cli.output import line, show_json, table
from plait.cli.progress import progress
from plait.hwgen.fpga import Routed
from plait.sim.spec import Accelerator

_COLUMNS = ("count", "dsps", "luts", "flip_flops", "block_rams")


def show_resources(
    machine: Accelerator, device: str, module: str, is_routed: bool, phase: str, json: bool
) -> None:
    """Print what each module takes, their sum, and the clock if the module was routed."""
    with progress(f"mapping {module or machine.name} to {device}"):
        found = api.map_to_fpga(machine, device, module, is_routed, phase=phase)
    mapped = found.mapped if isinstance(found, Routed) else found
    if json:
        document = {"machine": machine.name, "device": device, "total": asdict(mapped.total)}
        document["modules"] = [asdict(one) for one in mapped.modules]
        if isinstance(found, Routed):
            document |= {"clock_hz": found.clock_hz, "used": dict(found.used)}
        show_json(document)
        return
    rows = [[m.name, *(getattr(m, name) for name in _COLUMNS)] for m in mapped.modules]
    rows.append(["all", *(getattr(mapped.total, name) for name in _COLUMNS)])
    table(["module", *(name.replace("_", " ") for name in _COLUMNS)], rows, title=device)
    if isinstance(found, Routed):
        line(f"{mapped.top}: {found.clock_hz / 1e6:.1f} MHz, placed and routed")
