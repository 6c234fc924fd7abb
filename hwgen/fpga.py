"""What a design takes of an FPGA: yosys maps it, nextpnr places and routes it (ECP5 alone).

Two devices. `xcup` is UltraScale+, the family of the U280: cells by yosys `synth_xilinx`, with the
hierarchy kept, so no figure rests on what a vendor's tools would merge across modules; there is no
open place and route, hence no clock. `ecp5` is Lattice's: the same by `synth_ecp5`, and a clock
frequency by nextpnr for a module that fits the largest of them (LFE5U-85F, speed grade 6), placed
without pins: the module's ports are those of a part inside a chip.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import PlaitError, SpecError, ToolError, unknown_name
from plait.files import cache_folder, write_atomically
from plait.hwgen import tools
from plait.hwgen.design import Design
from plait.hwgen.verilog import parameter_names

__all__ = ["DEVICES", "Mapped", "Module", "Routed", "map_design", "route"]

DEVICES = {
    # no -check before synth_xilinx has read its primitives: it checks by itself
    "xcup": "hierarchy -top {top} {parameters}\n"
    "synth_xilinx -family xcup -noiopad -noclkbuf -top {top}",
    "ecp5": "hierarchy -check -top {top} {parameters}\nsynth_ecp5 -top {top} -json netlist.json",
}
_TOP = "plait_top"
_MODELS = "rtl/models/"  # what only a simulator needs
_SCRIPT = """\
read_verilog -sv -D SYNTHESIS {includes} {sources}
{synthesis}
tee -o stat.json stat -json
"""
_ROUTE = ("--85k", "--speed", "6", "--out-of-context", "--seed", "1", "--timing-allow-fail")

# Cell -> what one is of: DSP blocks, LUTs, flip-flops, block RAMs. Cells that are no part of a
# table (carry chains, wide multiplexers, inverters) stand for none; an unknown one is an error.
_PARTS: Mapping[str, tuple[str, float]] = {
    "DSP48E2": ("dsps", 1),
    **{f"LUT{inputs}": ("luts", 1) for inputs in range(1, 7)},
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), ("flip_flops", 1)),
    "RAM32M16": ("luts", 8),
    "RAM64M8": ("luts", 8),
    "RAM32M": ("luts", 4),
    "SRL16E": ("luts", 1),
    "SRLC32E": ("luts", 1),
    "RAMB36E2": ("block_rams", 1),
    "RAMB18E2": ("block_rams", 0.5),
    "MULT18X18D": ("dsps", 1),
    "CCU2C": ("luts", 2),
    "TRELLIS_FF": ("flip_flops", 1),
    "TRELLIS_DPR16X4": ("luts", 6),  # four hold the words, two write them
    "DP16KD": ("block_rams", 1),
}
_FREE = {
    "CARRY4",
    "CARRY8",
    "INV",
    "MUXF7",
    "MUXF8",
    "MUXF9",
    "PFUMX",
    "L6MUX21",
    "GSR",
    "$scopeinfo",
}


@dataclass(frozen=True, slots=True)
class Module:
    """One module of a design, what it holds itself, over all its copies.

    Args:
        name: of the Verilog.
        count: copies, of all parameters.
        dsps: DSP48E2, or MULT18X18D.
        luts: of six inputs, or four; with those used as memory.
        flip_flops: registers of one bit.
        block_rams: of 36 kbit (RAMB36E2; a RAMB18E2 is half of one), or 18 kbit (DP16KD).
    """

    name: str
    count: int
    dsps: int
    luts: int
    flip_flops: int
    block_rams: float


@dataclass(frozen=True, slots=True)
class Mapped:
    """A design on a device: its modules, the largest first, and their sum."""

    device: str
    top: str
    modules: tuple[Module, ...]

    @property
    def total(self) -> Module:
        """All modules together."""
        sums = {
            name: sum(getattr(module, name) for module in self.modules)
            for name in ("dsps", "luts", "flip_flops", "block_rams")
        }
        return Module(self.top, 1, **sums)


@dataclass(frozen=True, slots=True)
class Routed:
    """A module placed and routed.

    Args:
        mapped: what it takes.
        clock_hz: highest frequency of its clock, after routing.
        used: cells of the device, as nextpnr counts them: name -> (used, there are).
    """

    mapped: Mapped
    clock_hz: float
    used: Mapping[str, tuple[int, int]]


def map_design(design: Design, device: str = "xcup", module: str = "") -> Mapped:
    """Map a design, or one of its modules, or take the answer from the cache.

    The first time takes tens of minutes for a whole machine, and gigabytes.

    Args:
        device: one of `DEVICES`.
        module: with all below it; parameters that the design names alike go down to it.
    """
    found = _cached(design, device, module or _TOP, is_routed=False)
    return _mapped(device, module or _TOP, found["statistics"])


def route(design: Design, device: str = "ecp5", module: str = "") -> Routed:
    """Place and route a design, or one of its modules, or take the answer from the cache."""
    if device != "ecp5":
        raise SpecError("no open place and route", where="device", got=device, expected="ecp5")
    found = _cached(design, device, module or _TOP, is_routed=True)
    clocks = list(found["report"]["fmax"].values())
    if len(clocks) != 1:
        what = f"{len(clocks)} clocks between registers"
        raise SpecError(what, where=module or _TOP, expected="one")
    used = {
        name: (cell["used"], cell["available"])
        for name, cell in found["report"]["utilization"].items()
        if cell["used"]
    }
    mapped = _mapped(device, module or _TOP, found["statistics"])
    return Routed(mapped, clocks[0]["achieved"] * 1e6, used)


def _cached(design: Design, device: str, top: str, is_routed: bool) -> dict[str, Any]:
    if device not in DEVICES:
        raise SpecError(unknown_name("device", device, DEVICES), where="device")
    script = _script(design, device, top)
    key = [dict(design.files), script, tools.yosys_version(), _ROUTE if is_routed else ()]
    if is_routed:
        key.append(tools.nextpnr_version())
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    kept = cache_folder() / "fpga" / f"{top}-{device}-{digest[:24]}.json"
    answer: dict[str, Any]
    with contextlib.suppress(OSError, ValueError):  # none yet, or a damaged one
        answer = json.loads(kept.read_text())
        return answer
    answer = _run(design, script, is_routed)
    with contextlib.suppress(OSError, PlaitError):  # a full or read-only cache only costs time
        kept.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(kept) as temporary:
            temporary.write_text(json.dumps(answer))
    return answer


def _script(design: Design, device: str, top: str) -> str:
    sources = [
        name for name in design.sources if name.endswith(".sv") and not name.startswith(_MODELS)
    ]
    texts = {Path(name).stem: design.files[name] for name in sources}
    if top not in texts:
        raise SpecError(unknown_name("module", top, texts), where=f"{design.machine}: module")
    names = [name for name in parameter_names(texts[top]) if name in design.parameters]
    return _SCRIPT.format(
        includes=" ".join(f"-I{name}" for name in design.include_folders),
        sources=" ".join(sources),
        synthesis=DEVICES[device].format(
            top=top,
            parameters=" ".join(f"-chparam {name} {design.parameters[name]}" for name in names),
        ),
    )


def _run(design: Design, script: str, is_routed: bool) -> dict[str, Any]:
    """Files are named relative to the folder: the programs in WebAssembly see no other."""
    with tempfile.TemporaryDirectory(prefix="plait-") as name:
        folder = Path(name)
        for path, text in {**design.files, "run.ys": script}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        tools.run([*tools.yosys_command(), "-q", "-s", "run.ys"], name="yosys", folder=folder)
        found = {"statistics": json.loads((folder / "stat.json").read_text())["modules"]}
        if is_routed:
            files = ("--json", "netlist.json", "--report", "report.json", "--quiet")
            command = [*tools.nextpnr_command(), *_ROUTE, *files]
            tools.run(command, name="nextpnr-ecp5", folder=folder)
            found["report"] = json.loads((folder / "report.json").read_text())
    return found


def _mapped(device: str, top: str, statistics: Mapping[str, Any]) -> Mapped:
    """Add up what the copies of each module hold themselves."""
    # cells leave out the backslash that begins a plain name
    statistics = {name.removeprefix("\\"): found for name, found in statistics.items()}
    counts: Counter[str] = Counter()
    for module in _instances(statistics, _root(statistics, top)):
        counts[module] += 1
    sums: dict[str, Counter[str]] = {}
    for full, copies in counts.items():
        found = sums.setdefault(_plain(full), Counter())
        found["count"] += copies
        for cell, number in statistics[full]["num_cells_by_type"].items():
            if cell in _PARTS:
                part, worth = _PARTS[cell]
                found[part] += copies * number * worth
            elif cell not in _FREE and cell not in statistics:
                raise ToolError(f"yosys left a cell that {device} does not have: {cell}")
    modules = [
        Module(
            name,
            found["count"],
            int(found["dsps"]),
            int(found["luts"]),
            int(found["flip_flops"]),
            float(found["block_rams"]),
        )
        for name, found in sums.items()
    ]
    return Mapped(device, top, tuple(sorted(modules, key=lambda one: (-one.luts, one.name))))


def _instances(statistics: Mapping[str, Any], module: str) -> Iterator[str]:
    """The module and all below it, each as often as it is there."""
    yield module
    for cell, number in statistics[module]["num_cells_by_type"].items():
        if cell in statistics:
            for _ in range(number):
                yield from _instances(statistics, cell)


def _root(statistics: Mapping[str, Any], top: str) -> str:
    roots = [name for name in statistics if _plain(name) == top]
    held = {cell for one in statistics.values() for cell in one["num_cells_by_type"]}
    return next(name for name in roots if name not in held)


def _plain(name: str) -> str:
    r"""Give a module's name in the Verilog.

    >>> _plain(r"$paramod$0168\plait_fifo"), _plain(r"$paramod\plait_skid\Width=s32'1")
    ('plait_fifo', 'plait_skid')
    """
    parts = name.split("\\")
    return parts[1] if len(parts) > 1 else name
