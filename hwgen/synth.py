"""Area of Verilog in gate equivalents: yosys maps a module to a small library of plain gates.

The one rule, for every part alike: yosys `synth -flatten`, flip-flops without enable or reset,
logic mapped to `CELLS` for least area, and the areas of the cells added up. A gate equivalent (GE)
is one 2-input NAND. The areas are those of the drive-strength-1 cells of the NanGate 45 nm open
cell library over its NAND2; such ratios hardly change from node to node. No wires, no clock tree,
no timing constraint, no full-adder cells: the figures compare circuits, they predict no layout.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from plait.errors import PlaitError, ToolError
from plait.files import cache_folder, write_atomically
from plait.hwgen import tools

__all__ = ["CELLS", "FLIP_FLOP", "Synthesis", "synthesise"]

# Cell: (gate equivalents, function of inputs A, B, C, D).
CELLS = {
    "ZERO": (0.0, "CONST0"),
    "ONE": (0.0, "CONST1"),
    "BUF": (1.0, "A"),
    "INV": (0.67, "!A"),
    "NAND2": (1.0, "!(A*B)"),
    "NOR2": (1.0, "!(A+B)"),
    "NAND3": (1.33, "!(A*B*C)"),
    "NOR3": (1.33, "!(A+B+C)"),
    "AND2": (1.33, "A*B"),
    "OR2": (1.33, "A+B"),
    "AOI21": (1.33, "!((A*B)+C)"),
    "OAI21": (1.33, "!((A+B)*C)"),
    "AOI22": (1.67, "!((A*B)+(C*D))"),
    "OAI22": (1.67, "!((A+B)*(C+D))"),
    "XOR2": (2.0, "(A*!B)+(!A*B)"),
    "XNOR2": (2.0, "(A*B)+(!A*!B)"),
    "MUX2": (2.33, "(A*!C)+(B*C)"),
}
FLIP_FLOP = 5.67

_SCRIPT = """\
read_verilog -sv -D SYNTHESIS {includes} {sources}
hierarchy -check -top {top}
synth -flatten -noabc -top {top}
dfflegalize -cell $_DFF_P_ 01
abc -genlib cells.genlib -script +strash;ifraig;scorr;dc2;strash;dch;map,-a
opt_clean -purge
tee -o stat.json stat -json
"""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """Area of one module with all it contains, in gate equivalents (2-input NANDs)."""

    logic: float
    registers: float


def synthesise(
    files: Mapping[str, str],
    sources: Sequence[str],
    top: str,
    parameters: Mapping[str, int],
    include_folders: Sequence[str] = (),
) -> Synthesis:
    """Map a module to gates, or take the answer from the cache.

    Args:
        files: text by path.
        sources: paths to read, packages first.
        top: the module.
        parameters: overrides of its parameters.
        include_folders: where sources find their headers.
    """
    command = tools.yosys_command()
    script = _SCRIPT.format(
        includes=" ".join(f"-I{name}" for name in include_folders),
        sources=" ".join(sources),
        top=top,
    )
    content = {
        **_with_defaults(files, top, parameters),
        "cells.genlib": _genlib(),
        "run.ys": script,
    }
    digest = hashlib.sha256(json.dumps([content, tools.yosys_version()]).encode()).hexdigest()
    kept = cache_folder() / "synth" / f"{top}-{digest[:24]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):  # none yet, or a damaged one
        return Synthesis(**json.loads(kept.read_text()))
    result = _run(command, content)
    with contextlib.suppress(OSError, PlaitError):  # a full or read-only cache only costs time
        kept.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(kept) as temporary:
            temporary.write_text(json.dumps(asdict(result)))
    return result


def _with_defaults(
    files: Mapping[str, str], top: str, parameters: Mapping[str, int]
) -> dict[str, str]:
    """Put the parameters in as the module's defaults: yosys stumbles over overrides of some."""
    (path,) = (name for name in files if Path(name).stem == top)
    text = files[path]
    for name, value in parameters.items():
        text, found = re.subn(rf"(parameter [^=\n]*\b{name}\s*=\s*)[^,\n]+", rf"\g<1>{value}", text)
        if found != 1:
            raise ToolError(f"{top} has no parameter {name}")
    return {**files, path: text}


def _run(command: Sequence[str], content: Mapping[str, str]) -> Synthesis:
    with tempfile.TemporaryDirectory(prefix="plait-") as name:
        folder = Path(name)
        for path, text in content.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        tools.run([*command, "-q", "-s", "run.ys"], name="yosys", folder=folder)
        statistics = json.loads((folder / "stat.json").read_text())
    cells = statistics["design"]["num_cells_by_type"]
    registers = cells.pop("$_DFF_P_", 0)
    unmapped = sorted(set(cells) - set(CELLS))
    if unmapped:
        raise ToolError(f"yosys left cells that are no gates, such as {unmapped[0]}")
    logic = sum(CELLS[cell][0] * count for cell, count in cells.items())
    return Synthesis(logic=round(logic, 2), registers=round(FLIP_FLOP * registers, 2))


def _genlib() -> str:
    """The cells in the format abc reads; the delays are all alike and play no part."""
    lines = []
    for name, (area, function) in CELLS.items():
        # abc stops at a constant that claims to have inputs, once a netlist uses it
        pins = "" if function.startswith("CONST") else " PIN * UNKNOWN 1 999 1 0 1 0"
        lines.append(f"GATE {name} {area} Y={function};{pins}\n")
    return "".join(lines)
