"""The measured error between every pair of views: published rows, closed form, Verilog, values.

Each line compares two things as often as it says and keeps the largest relative difference.
Nothing is remembered: asking again measures again. The rows of other programs and of papers are in
sim/published.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from plait.errors import SpecError, unknown_name
from plait.files import read_text, text_around, write_atomically
from plait.models.graph import load_graph
from plait.sim import load_accelerator, simulate

if TYPE_CHECKING:
    import pandas as pd

    from plait.models.graph.graph import Graph

__all__ = [
    "PAPER_SPEEDUPS",
    "Error",
    "errors",
    "families",
    "graph",
    "is_current",
    "reference",
    "relative",
    "speedups",
    "write",
]

# BitMoD (arXiv 2411.11745): the mean speedups that its abstract states, over these six models
PAPER_SPEEDUPS = {"ant": 1.69, "olive": 1.48}
_PAPER_MODELS = ("opt-1.3b", "phi-2", "yi-6b", "llama-2-7b", "llama-2-13b", "llama-3-8b")
_PAPER_CONTEXT = 256

_BEGIN = "<!-- measured errors: written by `make readme`, do not edit -->"
_END = "<!-- end of measured errors -->"
_ROWS = Path(__file__).parent / "sim/published"
_GPUS = {"A6000": "a6000", "A100": "a100-40g"}


class Error(NamedTuple):
    """What was compared with what, how often, and the largest relative difference."""

    what: str
    against: str
    cases: int
    largest: float

    @property
    def shown(self) -> str:
        """The difference as it is printed.

        >>> Error("cycles", "the authors'", 60, 0.0046).shown
        '0.46 %'
        """
        return "0" if self.largest == 0 else f"{100 * self.largest:.2g} %"


def families() -> list[str]:
    """The families that something is measured of."""
    return list(_MEASURED)


def errors(family: str | None = None, workers: int = 1) -> Iterator[Error]:
    """Measure every pair of one family, or of all; the Verilog's need Verilator.

    Args:
        family: None = all.
        workers: processes; more than one start the calling program's main module anew.
    """
    if family is not None and family not in _MEASURED:
        raise SpecError(unknown_name("family", family, _MEASURED), where="family")
    chosen = _MEASURED if family is None else [family]
    parts = [(name, place) for name in chosen for place in range(len(_MEASURED[name]))]
    if workers == 1 or len(parts) == 1:
        for part in parts:
            yield from _measured(part)
        return
    # fork would copy locks that numba's and NumPy's threads hold
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for found in pool.map(_measured, parts):
            yield from found


def _measured(part: tuple[str, int]) -> list[Error]:
    name, place = part
    return list(_MEASURED[name][place]())


def write(path: str | Path, measured: list[Error]) -> None:
    """Replace the table between the markers of a file of Markdown."""
    before, after = text_around(path, _BEGIN, _END)
    with write_atomically(path) as temporary:
        temporary.write_text(before + _table(measured) + after, encoding="utf-8")


def is_current(path: str | Path, measured: list[Error]) -> bool:
    """Whether a file's table is what was just measured."""
    before, after = text_around(path, _BEGIN, _END)
    return read_text(path) == before + _table(measured) + after


def _table(measured: list[Error]) -> str:
    head = ["| what | compared with | cases | largest difference |", "|---|---|---|---|"]
    rows = [f"| {e.what} | {e.against} | {e.cases} | {e.shown} |" for e in measured]
    return "\n".join([_BEGIN, *head, *rows, _END])


def _bit_serial_published() -> Iterator[Error]:
    """The 60 rows of the published simulator: 5 machines, 2 phases, 6 models."""
    names = {"fp16": "fp16-baseline"}
    cycles, energy = [], []
    rows = list(reference("bitmod_cycles.csv"))
    for row in rows:
        report = simulate(
            graph(row["model"]),
            names.get(row["accelerator"], row["accelerator"]),
            phase=row["phase"],
            context=int(row["context"]),
            batch=int(row["batch"]),
            fidelity="published",
        )
        cycles.append(relative(report.totals["cycles"], int(row["total_cycles"])))
        for part in ("pe", "sram_read", "sram_write", "dram"):
            wanted = float(row[f"{part}_energy_uj" if part == "pe" else f"{part}_uj"])
            energy.append(relative(report.totals["energy_pj"][part] * 1e-6, wanted))
    machine = "`bit_serial`, `published`"
    against = "rows of the BitMoD authors' simulator"
    yield Error(f"cycles of {machine}", against, len(rows), max(cycles))
    yield Error(f"energy by part of {machine}", against, len(energy), max(energy))


def _roofline_published() -> Iterator[Error]:
    """The 16 rows of LLM-Viewer: 2 GPUs, 2 batches, 2 contexts, 2 formats, both phases."""
    seconds, counts = [], []
    for row in reference("llm_viewer.csv"):
        for phase in ("prefill", "decode"):
            report = simulate(
                graph("llama-2-7b"),
                _GPUS[row["gpu"]],
                phase=phase,
                context=int(row["context"]),
                batch=int(row["batch"]),
                fidelity="published",
                formats=row["format"],
            )
            seconds.append(relative(report.seconds * 1e3, float(row[f"{phase}_ms"])))
            counts.append(relative(report.operations, int(row[f"{phase}_ops"])))
            counts.append(relative(report.bytes, int(row[f"{phase}_bytes"])))
    against = "rows of LLM-Viewer"
    machine = "`roofline`, `published`"
    yield Error(f"time of {machine}", f"{against}, 4 decimals", len(seconds), max(seconds))
    yield Error(f"operations and bytes of {machine}", against, len(counts), max(counts))


def _roofline_closed_form() -> Iterator[Error]:
    """GenZ's ideal machine: no traffic for activations."""
    differences = []
    for row in reference("genz.csv"):
        bandwidth = float(row["bandwidth_gib_per_s"]) * 2.0**30
        machine = load_accelerator(row["machine"]).with_(
            **{"activations": "on_chip", "memory.bandwidth_bytes_per_s": bandwidth}
        )
        for phase in ("prefill", "decode"):
            report = simulate(
                graph("llama-2-7b"),
                machine,
                phase=phase,
                context=int(row["context"]),
                batch=int(row["batch"]),
            )
            differences.append(relative(report.seconds * 1e3, float(row[f"{phase}_ms"])))
    what = "time of `roofline`, `closed_form`, activations on chip"
    yield Error(what, "figures of GenZ", len(differences), max(differences))


def _systolic() -> Iterator[Error]:
    """SCALE-Sim's compute cycles of one product on 128 x 128."""
    from plait.sim.families.systolic import cycles

    differences = [
        relative(
            int(cycles(int(row["m"]), int(row["n"]), int(row["k"]), rows=128, columns=128)),
            int(row["cycles"]),
        )
        for row in reference("scale_sim.csv")
    ]
    what = "cycles of `systolic`, weight stationary"
    yield Error(what, "figures of SCALE-Sim v3", len(differences), max(differences))


def _offload() -> Iterator[Error]:
    """Lamina: its formula and claims."""
    from plait.measured_offload import measure

    yield from measure()


def _serving() -> Iterator[Error]:
    """Serving systems of the papers."""
    from plait.measured_serving import measure

    yield from measure()


def _attention() -> Iterator[Error]:
    """The attention unit, golden and as Verilog."""
    from plait.measured_attention import attention_errors

    yield from attention_errors()


def _sparse_dsp() -> Iterator[Error]:
    """FlightLLM: its simulator, two measured steps, our closed form and timeline."""
    from plait.measured_sparse_dsp import measure

    yield from measure()


def speedups(announce: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Recompute the speedups of bitmod-lossy in the BitMoD paper: a row a model and phase.

    Args:
        announce: called with the name of each model before it is loaded.
    """
    import pandas as pd

    rows = []
    for model in _PAPER_MODELS:
        announce(model)
        for phase in ("prefill", "decode"):
            ours = _published_cycles(model, "bitmod-lossy", phase)
            rows.append(
                {"model": model, "phase": phase}
                | {n: _published_cycles(model, n, phase) / ours for n in PAPER_SPEEDUPS}
            )
    return pd.DataFrame(rows)


def _published_cycles(model: str, machine: str, phase: str) -> float:
    report = simulate(
        graph(model), machine, phase=phase, context=_PAPER_CONTEXT, fidelity="published"
    )
    return float(report.totals["cycles"])


def _speedups() -> Iterator[Error]:
    """The two means of the paper's abstract."""
    table = speedups()
    for name, published in PAPER_SPEEDUPS.items():
        mean = float(np.mean(table[name]))
        what = f"mean speedup of `bitmod-lossy` over `{name}`: {mean:.3f}"
        yield Error(what, f"the paper's {published}", len(table), relative(mean, published))


def _bit_serial_closed_form() -> Iterator[Error]:
    """Our machine, with all that the published simulator leaves out, on the shapes of its rows."""
    differences = [
        relative(
            simulate(
                graph(row["model"]),
                row["accelerator"],
                phase=row["phase"],
                context=int(row["context"]),
                batch=int(row["batch"]),
            ).totals["cycles"],
            int(row["total_cycles"]),
        )
        for row in reference("bitmod_cycles.csv")
        if row["accelerator"].startswith("bitmod")
    ]
    yield Error(
        "cycles of `bitmod-*`, `closed_form`",
        "rows of the BitMoD authors' simulator",
        len(differences),
        max(differences),
    )


def _bit_serial_gates() -> Iterator[Error]:
    """The Verilog on short shapes, in all formats."""
    from plait.measured_bit_serial import on_short_shapes

    yield from on_short_shapes()


def _bit_serial_long_gates() -> Iterator[Error]:
    """The Verilog on shapes of 10,000 cycles and more."""
    from plait.measured_bit_serial import on_long_shapes

    yield from on_long_shapes()


@cache
def graph(model: str) -> Graph:
    """Load the graph of a model, once for all that is measured."""
    return load_graph(model)


def reference(name: str) -> Iterator[dict[str, str]]:
    """Read a file of sim/published row by row, without its comments."""
    with open(_ROWS / name, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


def relative(got: float, wanted: float) -> float:
    """The difference, relative to what was wanted."""
    return abs(got - wanted) / abs(wanted)


_MEASURED: dict[str, tuple[Callable[[], Iterator[Error]], ...]] = {
    "bit_serial": (
        _bit_serial_published,
        _speedups,
        _bit_serial_closed_form,
        _bit_serial_gates,
        _bit_serial_long_gates,
    ),
    "offload": (_offload, _serving, _attention),
    "roofline": (_roofline_published, _roofline_closed_form),
    "sparse_dsp": (_sparse_dsp,),
    "systolic": (_systolic,),
}
