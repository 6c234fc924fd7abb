"""Measure the errors that the README states, and write them there or check that they are current.

    python tests/agreement/measure.py README.md            write the table
    python tests/agreement/measure.py --check README.md    exit 1 if it is not what is measured

Reference rows are those of tests/published/data, whose headers say where they come from.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import plait

DATA = Path(__file__).parents[1] / "published/data"
BEGIN = "<!-- measured errors: written by `make readme`, do not edit -->"
END = "<!-- end of measured errors -->"
GPUS = {"A6000": "a6000", "A100": "a100-40g"}


class Error(NamedTuple):
    """One line of the table: what was compared with what, how often, and the largest difference."""

    what: str
    against: str
    cases: int
    largest: float

    def row(self) -> str:
        shown = "0" if self.largest == 0 else f"{100 * self.largest:.2g} %"
        return f"| {self.what} | {self.against} | {self.cases} | {shown} |"


def errors() -> Iterator[Error]:
    """Measure every pair, the cheap ones first."""
    yield from bit_serial_published()
    yield from roofline_published()
    yield roofline_closed_form()
    yield systolic()
    yield from speedups()
    yield from bit_serial_gates()


def bit_serial_published() -> Iterator[Error]:
    """The 60 rows of the published simulator: 5 machines, 2 phases, 6 models."""
    names = {"fp16": "fp16-baseline"}
    cycles, energy = [], []
    rows = list(reference("bitmod_reference_cycles.csv"))
    for row in rows:
        report = plait.simulate(
            graph(row["model"]),
            names.get(row["accelerator"], row["accelerator"]),
            phase=row["phase"],
            context=int(row["context"]),
            batch=int(row["batch"]),
            fidelity="published",
        )
        cycles.append(relative(report.cycles, int(row["total_cycles"])))
        for part in ("pe", "sram_read", "sram_write", "dram"):
            wanted = float(row[f"{part}_energy_uj" if part == "pe" else f"{part}_uj"])
            energy.append(relative(report.totals["energy_pj"][part] * 1e-6, wanted))
    machine = "`bit_serial`, `published`"
    against = "rows of the BitMoD authors' simulator"
    yield Error(f"cycles of {machine}", against, len(rows), max(cycles))
    yield Error(f"energy by part of {machine}", against, len(energy), max(energy))


def roofline_published() -> Iterator[Error]:
    """The 16 rows of LLM-Viewer: 2 GPUs, 2 batches, 2 contexts, 2 formats, both phases."""
    seconds, counts = [], []
    for row in reference("llm_viewer_reference.csv"):
        for phase in ("prefill", "decode"):
            report = plait.simulate(
                graph("llama-2-7b"),
                GPUS[row["gpu"]],
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


def roofline_closed_form() -> Error:
    """GenZ's ideal machine: no traffic for activations."""
    differences = []
    for row in reference("genz_reference.csv"):
        bandwidth = float(row["bandwidth_gib_per_s"]) * 2.0**30
        machine = plait.load_accelerator(row["machine"]).with_(
            **{"activations": "on_chip", "memory.bandwidth_bytes_per_s": bandwidth}
        )
        for phase in ("prefill", "decode"):
            report = plait.simulate(
                graph("llama-2-7b"),
                machine,
                phase=phase,
                context=int(row["context"]),
                batch=int(row["batch"]),
            )
            differences.append(relative(report.seconds * 1e3, float(row[f"{phase}_ms"])))
    what = "time of `roofline`, `closed_form`, activations on chip"
    return Error(what, "figures of GenZ", len(differences), max(differences))


def systolic() -> Error:
    """SCALE-Sim's compute cycles of one product on 128 x 128."""
    from plait.sim.families.systolic import cycles

    differences = [
        relative(
            int(cycles(int(row["m"]), int(row["n"]), int(row["k"]), rows=128, columns=128)),
            int(row["cycles"]),
        )
        for row in reference("scale_sim_reference.csv")
    ]
    what = "cycles of `systolic`, weight stationary"
    return Error(what, "figures of SCALE-Sim v3", len(differences), max(differences))


def speedups() -> Iterator[Error]:
    """The two means of the BitMoD paper's abstract, over 6 models and 2 phases."""
    from plait.demo import PAPER_SPEEDUPS, paper

    means = paper(lambda _: None).table.set_index("model").loc["mean, recomputed"]
    for name, published in PAPER_SPEEDUPS.items():
        mean = float(means[f"over {name}"])
        what = f"mean speedup of `bitmod-lossy` over `{name}`: {mean:.3f}"
        yield Error(what, f"the paper's {published}", 12, relative(mean, published))


def bit_serial_gates() -> Iterator[Error]:
    """60 shapes on the Verilog of bitmod-small: once with a prompt memory, once with stalls."""
    rng = np.random.default_rng(0)
    names = ("bitmod3", "bitmod4", "int4", "int5", "int6", "int8", "flint4", "fp6-e2m3")
    cycles, stalled, arithmetic, values, different = [], [], [], 0, 0
    for index in range(60):
        outputs, inputs, tokens = (int(n) for n in rng.integers((1, 1, 1), (41, 301, 10)))
        weights = plait.quantize(
            rng.standard_normal((outputs, inputs)),
            names[index % len(names)],
            group_size=min(inputs, int(rng.integers(1, 33)) * 4),
            scale_bits=8,
        )
        activations = rng.standard_normal((tokens, inputs)).astype(np.float16)
        if index % 3 == 2:
            activations = np.rint(activations * 30).clip(-128, 127).astype(np.int8)
        prompt = plait.cosimulate("bitmod-small", weights, activations)
        late = plait.cosimulate("bitmod-small", weights, activations, stall=0.2, seed=index)
        cycles.append(relative(prompt.cycles_predicted, prompt.cycles_measured))
        stalled.append(relative(late.cycles_predicted, late.cycles_measured))
        values += prompt.values_compared + late.values_compared
        different += prompt.values_different + late.values_different
        exact = activations.astype(np.float64) @ weights.dequantize().astype(np.float64).T
        error = np.linalg.norm(prompt.outputs - exact) / np.linalg.norm(exact)
        if activations.dtype == np.float16:
            arithmetic.append(float(error))
    verilog = "the Verilog of `bitmod-small`"
    yield Error(f"values of {verilog}", "golden model, bit for bit", values, different / values)
    yield Error(f"cycles of {verilog}", "`closed_form`", len(cycles), max(cycles))
    yield Error(
        f"cycles of {verilog}, memory stalling",
        "recurrence, same stalls",
        len(stalled),
        max(stalled),
    )
    yield Error(
        f"values of {verilog}, FP16 activations",
        "exact sums of the same weights, root mean square",
        len(arithmetic),
        max(arithmetic),
    )


@cache
def graph(model: str) -> object:
    return plait.load_model(model)


def reference(name: str) -> Iterator[dict[str, str]]:
    with open(DATA / name, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


def relative(got: float, wanted: float) -> float:
    return abs(got - wanted) / abs(wanted)


def table(measured: Iterable[Error]) -> str:
    head = ["| what | compared with | cases | largest difference |", "|---|---|---|---|"]
    return "\n".join([BEGIN, *head, *(error.row() for error in measured), END])


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    (path,) = (Path(argument) for argument in arguments if argument != "--check")
    old = path.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        print(f"{path}: the markers of the table are missing", file=sys.stderr)
        return 2
    new = before + table(errors()) + after
    if check and new != old:
        print(f"{path}: the table of measured errors is stale: make readme", file=sys.stderr)
        return 1
    if not check:
        path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
