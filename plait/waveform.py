"""A picture of the bit-serial machine at work, cycle by cycle, drawn from a trace of its Verilog.

Takes a machine, runs two output tiles on its Verilog with a waveform, gives an SVG: who does what
in which cycle, and which cause each cycle is counted as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from plait.cosimulation import cosimulate
from plait.errors import SpecError
from plait.files import write_atomically
from plait.hwgen.vcd import sample
from plait.sim.families.bit_serial_schedule import CAUSES
from plait.sim.spec import load_accelerator
from plait.sim.spec.base import Accelerator
from plait.sim.spec.bit_serial import BitSerial

__all__ = ["Picture", "draw", "two_tiles"]

_TOP, _CORE = "plait_top", "plait_top.u_core"
_CLOCK = f"{_TOP}.clk_i"
_COUNTER_BITS = 32
# Lanes of the picture: what is shown, and the signals that must all be other than zero.
_LANES = (
    ("words from memory", (f"{_TOP}.mem_read_valid_i", f"{_TOP}.mem_read_ready_o")),
    ("into activation buffer", (f"{_CORE}.activation_word_valid",)),
    ("into weight buffer", (f"{_CORE}.weight_word_valid", f"{_CORE}.weight_word_ready")),
    ("terms into array", (f"{_CORE}.u_array.term_valid_i",)),
    ("last term of a group", (f"{_CORE}.u_array.term_valid_i", f"{_CORE}.u_array.group_last_i")),
    ("dequantiser", (f"{_CORE}.u_array.dequant_q",)),
    ("results of a tile", (f"{_CORE}.result_valid",)),
    ("words to memory", (f"{_TOP}.mem_write_valid_o", f"{_TOP}.mem_write_ready_i")),
)
_COUNTED, _START = f"{_TOP}.counters_o", f"{_TOP}.start_i"

_CYCLE, _LANE, _LABEL, _MARGIN = 6, 22, 170, 12  # pixels
_INK, _FAINT, _BAR = "#1f2933", "#d5dbe1", "#3b6ea5"
_CAUSE_COLOURS = (
    "#8c8c8c", "#e0a030", "#c9c060", "#3b6ea5", "#c0392b", "#8e5ea2", "#b5651d", "#5fa777",
    "#7fb2d9",
)  # fmt: skip


class Run(NamedTuple):
    """Consecutive cycles of one kind: the first, and the one after the last."""

    kind: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Picture:
    """What was drawn.

    Args:
        svg: the picture.
        cycles: shown, from the one in which start_i is high.
        cycles_by_cause: as drawn; the counters of the Verilog.
    """

    svg: str = field(repr=False)
    cycles: int
    cycles_by_cause: dict[str, int]

    def _repr_svg_(self) -> str:
        return self.svg


def two_tiles(
    machine: str | Path | Accelerator,
    picture: str | Path | None = None,
    trace: str | Path | None = None,
) -> Picture:
    """Run two output tiles (bitmod4, two groups of 8 steps) and draw them.

    Args:
        machine: a bit-serial machine whose Verilog plait generates.
        picture: file for the SVG.
        trace: file for the waveform (VCD) itself.
    """
    described = load_accelerator(machine)
    if not isinstance(described, BitSerial):
        raise SpecError(
            "only bit-serial machines are drawn", where=described.name, got=described.family
        )
    group = 8 * described.pe.lanes
    array = described.array.decode
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2 * array.rows, 2 * group))
    inputs = rng.standard_normal((array.columns, 2 * group)).astype(np.float16)
    with TemporaryDirectory(prefix="plait-") as folder:
        path = Path(trace) if trace else Path(folder) / "wave.vcd"
        cosimulate(described, weights, inputs, format="bitmod4", group_size=group, trace=path)
        drawn = draw(path, f"{described.name}: two output tiles of bitmod4, groups of {group}")
    if picture is not None:
        with write_atomically(picture) as temporary:
            temporary.write_text(drawn.svg, encoding="utf-8")
    return drawn


def draw(trace: str | Path, title: str) -> Picture:
    """Draw a trace of plait_top from the start to the last counted cycle.

    Args:
        trace: a waveform (VCD) of a bit-serial machine, from `plait.cosimulate(..., trace=)`.
        title: the line above it.
    """
    signals = list(dict.fromkeys(name for _, names in _LANES for name in names))
    values = sample(Path(trace), _CLOCK, [*signals, _COUNTED, _START])
    start = int(np.flatnonzero(values[_START])[0])
    causes = _causes(values[_COUNTED][start:].tolist())
    lanes = [
        _runs(np.all([values[name][start:] != 0 for name in names], axis=0).tolist()[: len(causes)])
        for _, names in _LANES
    ]
    counted = {name: causes.count(index) for index, name in enumerate(CAUSES)}
    return Picture(_svg(title, lanes, _runs(causes), len(causes)), len(causes), counted)


def _causes(counters: Sequence[int]) -> list[int]:
    """The cause of every cycle, -1 where none was counted: which counter is larger in the next."""
    found = [-1]
    for before, after in pairwise(counters[1:]):
        risen = [
            index
            for index in range(len(CAUSES))
            if (after >> index * _COUNTER_BITS) % 2**_COUNTER_BITS
            > (before >> index * _COUNTER_BITS) % 2**_COUNTER_BITS
        ]
        found.append(risen[0] if risen else -1)
    while found and found[-1] < 0:
        found.pop()
    return found


def _runs(kinds: Sequence[int]) -> list[Run]:
    """Join equal neighbours; 0 of a lane, or -1 of the causes, is nothing."""
    runs, first = [], 0
    for kind, same in groupby(kinds):
        end = first + len(list(same))
        if kind is not False and kind != -1:
            runs.append(Run(int(kind), first, end))
        first = end
    return runs


def _svg(title: str, lanes: list[list[Run]], causes: list[Run], cycles: int) -> str:
    bottom = 44 + _LANE * (len(lanes) + 1)
    used = sorted({run.kind for run in causes})
    width, height = _LABEL + cycles * _CYCLE + _MARGIN, bottom + 34 + 18 * -(-len(used) // 4)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_MARGIN}" y="18" font-weight="bold">{escape(title)}</text>',
        *_axis(cycles, bottom),
    ]
    for index, (name, _) in enumerate(_LANES):
        parts += _lane(name, 44 + _LANE * index, lanes[index], [_BAR, _BAR])
    parts += _lane("counted as", 44 + _LANE * len(lanes), causes, _CAUSE_COLOURS)
    for place, kind in enumerate(used):
        x, y = _LABEL + place % 4 * 190, bottom + 34 + 18 * (place // 4)
        label = CAUSES[kind].replace("_", " ")
        parts.append(f'<rect x="{x}" y="{y - 10}" width="10" height="10" '
                     f'fill="{_CAUSE_COLOURS[kind]}"/>')  # fmt: skip
        parts.append(f'<text x="{x + 15}" y="{y}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _axis(cycles: int, bottom: int) -> list[str]:
    parts = [f'<text x="{_MARGIN}" y="38">clock cycle</text>']
    for cycle in range(0, cycles + 1, 10):
        x = _LABEL + cycle * _CYCLE
        parts.append(f'<line x1="{x}" y1="42" x2="{x}" y2="{bottom}" stroke="{_FAINT}"/>')
        parts.append(f'<text x="{x}" y="38" text-anchor="middle">{cycle}</text>')
    return parts


def _lane(name: str, top: int, runs: list[Run], colours: Sequence[str]) -> list[str]:
    parts = [f'<text x="{_MARGIN}" y="{top + 15}">{name}</text>']
    for run in runs:
        x, width = _LABEL + run.first * _CYCLE, (run.end - run.first) * _CYCLE
        parts.append(f'<rect x="{x}" y="{top + 4}" width="{width}" height="{_LANE - 8}" '
                     f'fill="{colours[run.kind]}"/>')  # fmt: skip
    return parts
