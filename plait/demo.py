"""The whole braid on a real LLM: values, cycles, gates, and one HTML page of all of it.

Each section measures one thing and gives a table; `run` walks them in order. Nothing here is
quoted except the figures of the paper, which stand in columns named ``published``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from plait import api
from plait.errors import ToolError
from plait.measured import PAPER_SPEEDUPS, speedups
from plait.modules import bits_per_weight

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from plait.models.graph.graph import Graph
    from plait.sim.report.report import Report

__all__ = ["Section", "run"]

MODEL = "smollm2-135m"
GROUP = 64  # divides the 576 and 1536 inputs of SmolLM2's linears
FORMATS = ("int4", "bitmod4")
MACHINES = (
    *("fp16-baseline", "ant", "olive", "bitmod-lossless", "bitmod-lossy"),
    *("a100-80g", "h100"),
)
CONTEXT = 256
VERILOG_MACHINE = "bitmod-small"
VERILOG_LINEAR = "layers.0.self_attn.k_proj"


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the demo, and the reports behind it."""

    title: str
    table: pd.DataFrame
    note: str = ""
    reports: dict[str, Report] = field(default_factory=dict)


Announce = Callable[[str], None]


def run(windows: int, announce: Announce) -> Iterator[Section]:
    """Give the sections one by one, as they are measured.

    Args:
        windows: windows of 512 tokens for each perplexity.
        announce: called with a few words before each piece of work.
    """
    announce(f"loading {MODEL}")
    module = api.load_module(MODEL)
    quantised = {}
    for name in FORMATS:
        announce(f"quantising to {name}")
        quantised[name] = api.quantize(module, name, group_size=GROUP)
    yield accuracy({"fp32": module, **quantised}, windows, announce)
    announce("exporting")
    graphs = {"fp32": api.export(module), "bitmod4": api.export(quantised["bitmod4"])}
    yield machines(graphs, announce)
    yield paper(announce)
    yield gates(announce)


def accuracy(modules: dict[str, torch.nn.Module], windows: int, announce: Announce) -> Section:
    """Measure the perplexity of the model in each format on a public-domain book."""
    import pandas as pd

    from plait.models.llm.texts import botchan

    rows = []
    for name, module in modules.items():
        announce(f"perplexity, {name}, {windows} windows of 512 tokens")
        value = api.perplexity(module, botchan(), window=512, windows=windows)
        rows.append(
            {"weights": name, "bits a weight": bits_per_weight(module), "perplexity": value}
        )
    frame = pd.DataFrame(rows)
    frame["to fp32"] = frame["perplexity"] / frame["perplexity"][0]
    note = (
        f"Windows of 512 tokens, from the start of Botchan: {windows}. Groups of {GROUP}. The "
        "weights come as GGUF in Q4_1: already rounded to asymmetric 4-bit groups of 32. Hence "
        "bitmod4 does not beat int4 with a zero point on this model (over 56 windows: plait "
        "perplexity); on weights that were never rounded the order can differ."
    )
    return Section("Values: perplexity of SmolLM2-135M", frame, note)


def machines(graphs: dict[str, Graph], announce: Announce) -> Section:
    """Simulate the exported graphs: each machine's own formats, and bitmod4 where it can run."""
    import pandas as pd

    runs = [(name, "its own", graphs["fp32"]) for name in MACHINES]
    runs += [(name, "bitmod4", graphs["bitmod4"]) for name in ("bitmod-lossy", "a100-80g", "h100")]
    rows, reports = [], {}
    for name, formats, graph in runs:
        announce(f"simulating {name}")
        decode = api.simulate(graph, name, phase="decode", context=CONTEXT)
        prefill = api.simulate(graph, name, phase="prefill", context=CONTEXT)
        reports[f"{name} · {formats}" if formats == "bitmod4" else name] = decode
        rows.append(
            {
                "machine": name,
                "formats": formats,
                "prefill ms": prefill.seconds * 1e3,
                "decode ms": decode.seconds * 1e3,
                "tokens a second": 1 / decode.seconds,
                "decode mJ": (decode.energy_joules or math.nan) * 1e3,
            }
        )
    note = (
        f"Prompt or context of {CONTEXT} tokens, batch 1, fidelity closed_form: the machines of "
        "the bit-serial family are small chips at 1 GHz with one 128-bit memory port, the GPUs "
        "ideal rooflines of their data sheets."
    )
    return Section("Time: one step of SmolLM2-135M", pd.DataFrame(rows), note, reports)


def paper(announce: Announce) -> Section:
    """Recompute the mean speedups of the BitMoD paper: six models, two phases, context 256."""
    import pandas as pd

    frame = speedups(lambda model: announce(f"the paper's figures, {model}"))
    last = [
        {"model": "mean, recomputed", **frame[list(PAPER_SPEEDUPS)].mean()},
        {"model": "mean, published", **PAPER_SPEEDUPS},
    ]
    frame = pd.concat([frame, pd.DataFrame(last)], ignore_index=True)
    frame = frame.rename(columns={name: f"over {name}" for name in PAPER_SPEEDUPS})
    note = "Speedup of bitmod-lossy, context 256, batch 1, fidelity published."
    return Section("Time: speedups of the BitMoD paper", frame, note)


def gates(announce: Announce) -> Section:
    """Run generated Verilog on a real linear, beside the golden model and the prediction."""
    import pandas as pd

    title = f"Gates: generated Verilog of {VERILOG_MACHINE} on a real linear"
    from plait.cosimulation import cosimulate_layer

    announce(f"building and running the Verilog of {VERILOG_MACHINE}")
    try:
        runs = [*cosimulate_layer(VERILOG_MACHINE, VERILOG_LINEAR, formats=["bitmod4", "int8"])]
    except ToolError as error:
        return Section(title, pd.DataFrame(), f"Not run: {error}.")
    rows = [
        {
            "linear": run.op,
            "weights": run.format,
            "activations": run.activation,
            "tokens": run.shape[0],
            "values": run.values_compared,
            "values that differ": run.values_different,
            "cycles, predicted": run.cycles_predicted,
            "cycles, Verilog": run.cycles_measured,
        }
        for run in runs
    ]
    note = (
        "Activations of real text, simulated by Verilator; values are compared bit for bit with "
        "the golden model, cycles with the closed form of the schedule. All seven linears of the "
        f"layer: plait cosimulate {VERILOG_MACHINE}"
    )
    return Section(title, pd.DataFrame(rows), note)


def write(sections: list[Section], path: str | Path) -> Path:
    """Write the sections as one self-contained HTML page."""
    from plait.sim.report.page import Table, write_page

    reports = {name: one for section in sections for name, one in section.reports.items()}
    return write_page(
        list(reports.values()),
        path,
        title="Plait: SmolLM2-135M from PyTorch to values, cycles and gates",
        subtitle=f"One decoded token, context {CONTEXT}, batch 1.",
        tables=[Table(s.title, s.table, s.note, leading=True) for s in sections],
        labels=list(reports),
    )
