"""Other programs and ours side by side in one run: the same work, its result, the time it took.

python benchmarks/peers [NAME ...] [--python PYTHON] [--llm-viewer FOLDER] [--json]

NAME is llm-viewer, genz or scale-sim; all that are found if none is given. PYTHON is the
interpreter of the environment that has GenZ and SCALE-Sim, FOLDER a checkout of LLM-Viewer, which
is no package. docs/peers.md says how to get them, and why figures differ where they do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import PlaitError, ToolError
from plait.files import reason
from plait.models.graph import Graph, load_graph
from plait.models.llm.config import load_shape
from plait.sim import simulate
from plait.sim.families import systolic
from plait.sim.families.roofline import Design, closed_form_parts, totals
from plait.sim.spec import load_accelerator

HERE = Path(__file__).parent
MODEL = "llama-2-7b"
DESIGNS = 100_000  # of the vectorised runs
RUNS = 5
GIB = 2.0**30


@dataclass(frozen=True)
class Row:
    """One piece of work: what each program says of it, and the seconds each took for it."""

    work: str
    unit: str
    theirs: float
    ours: float
    theirs_s: float
    ours_s: float

    @property
    def difference(self) -> float:
        """Ours over theirs, less one."""
        return self.ours / self.theirs - 1


@dataclass(frozen=True)
class Comparison:
    """A peer's rows, and how many designs a second our arrays cost of the same kind."""

    peer: str
    version: str
    rows: list[Row]
    designs_per_s: float


# --- the peers -----------------------------------------------------------------------------------


def llm_viewer(options: argparse.Namespace) -> Comparison:
    """Its roofline, kernel by kernel, beside ours of the same equations (`published`)."""
    if options.llm_viewer is None or not (options.llm_viewer / "model_analyzer.py").is_file():
        raise ToolError("LLM-Viewer is not here: give its checkout by --llm-viewer FOLDER")
    graph, work = load_graph(MODEL), []
    for hardware, machine in (("nvidia_A6000", "a6000"), ("nvidia_A100_40G", "a100-40g")):
        for phase in ("prefill", "decode"):
            case = {"hardware": hardware, "phase": phase, "batch": 1, "context": 1024}
            run = partial(
                simulate, graph, machine, phase=phase, context=1024, fidelity="published",
                formats="w16a16kv16",
            )  # fmt: skip
            work.append((f"{machine} {phase} 1024", {**case, "config": hugging_face()}, run))
    found = ask(sys.executable, "driver_llm_viewer.py", [w[1] for w in work], options.llm_viewer)
    return Comparison("LLM-Viewer", found["version"], in_ms(work, found), roofline_rate(graph))


def genz(options: argparse.Namespace) -> Comparison:
    """Its ideal machine beside ours with activations on chip, at its bandwidths (GiB/s)."""
    graph, work = load_graph(MODEL), []
    systems = (("A100_40GB_GPU", "a100-40g", 1600), ("H100_GPU", "h100", 3400))
    for system, machine, bandwidth in systems:
        ideal = load_accelerator(machine).with_(
            **{"activations": "on_chip", "memory.bandwidth_bytes_per_s": bandwidth * GIB}
        )
        for phase in ("prefill", "decode"):
            case = {"system": system, "phase": phase, "batch": 1, "context": 1024}
            run = partial(simulate, graph, ideal, phase=phase, context=1024)
            work.append((f"{machine} {phase} 1024", case, run))
    found = ask(options.python, "driver_genz.py", [w[1] for w in work])
    return Comparison("GenZ", found["version"], in_ms(work, found), roofline_rate(graph))


def scale_sim(options: argparse.Namespace) -> Comparison:
    """Its weight-stationary array, cycle by cycle, beside our closed form: single products."""
    sizes = ((256, 256, 256), (512, 512, 512), (1, 1024, 1024))
    cases = [{"m": m, "n": n, "k": k, "rows": 128, "columns": 128} for m, n, k in sizes]
    found = ask(options.python, "driver_scale_sim.py", cases)
    rows = []
    for case, answer in zip(cases, found["answers"], strict=True):
        seconds, cycles = timed(partial(systolic.cycles, **case))
        rows.append(
            Row("{m} x {k} by {k} x {n}".format(**case), "cycles", answer["cycles"],
                int(cycles), answer["seconds_taken"], seconds)
        )  # fmt: skip
    draw = np.random.default_rng(0)
    shapes = {name: draw.integers(1, 257, DESIGNS) for name in ("rows", "columns")}
    seconds, _ = timed(lambda: systolic.cycles(1, 4096, 4096, **shapes))
    return Comparison("SCALE-Sim", found["version"], rows, DESIGNS / seconds)


PEERS: dict[str, Callable[[argparse.Namespace], Comparison]] = {
    "llm-viewer": llm_viewer,
    "genz": genz,
    "scale-sim": scale_sim,
}


# --- running -------------------------------------------------------------------------------------


def main() -> int:
    """Compare, print a table a peer, and say in one line what is not here."""
    parser = argparse.ArgumentParser(prog="python benchmarks/peers")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--python", default=sys.executable, help="has GenZ and SCALE-Sim")
    parser.add_argument("--llm-viewer", type=Path, metavar="FOLDER", help="its checkout")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(PEERS)):
        parser.error(f"unknown peer {unknown[0]}, expected {', '.join(PEERS)}")
    found = []
    for name in options.names or PEERS:
        try:
            found.append(PEERS[name](options))
        except PlaitError as error:
            print(f"left out: {error}", file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        for one in found:
            show(one)
    return 0 if len(found) >= (len(options.names) or 1) else 2


def ask(python: str, driver: str, cases: list[dict[str, Any]], *words: Path) -> dict[str, Any]:
    """Run a driver in the interpreter that has the peer.

    Raises:
        ToolError: the peer is not installed there, or failed: one line.
    """
    command = [python, str(HERE / driver), *map(str, words)]
    try:
        done = subprocess.run(
            command, input=json.dumps(cases), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ToolError(f"cannot be started: {reason(error)}", where=python) from None
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        hint = "docs/peers.md says how to install it" if "No module named" in last else ""
        raise ToolError(last, where=f"{driver} by {python}", hint=hint)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def in_ms(work: list[tuple[str, Any, Callable[[], Any]]], found: dict[str, Any]) -> list[Row]:
    """Run ours on the same work."""
    rows = []
    for (name, _, run), answer in zip(work, found["answers"], strict=True):
        seconds, report = timed(run)
        rows.append(
            Row(name, "ms", answer["milliseconds"], report.seconds * 1e3,
                answer["seconds_taken"], seconds)
        )  # fmt: skip
    return rows


def roofline_rate(graph: Graph) -> float:
    """Designs a second of our arrays: decode steps on GPUs of many bandwidths and peaks."""
    machine = load_accelerator("a100-40g")
    parts = closed_form_parts(graph.bind("decode", 1, 1024), machine)
    draw = np.random.default_rng(0)
    design = Design.of(
        machine,
        **{
            "memory.bandwidth_bytes_per_s": draw.uniform(0.5e12, 8e12, DESIGNS),
            "compute.fp16_operations_per_s": draw.uniform(1e14, 2e15, DESIGNS),
        },
    )
    seconds, _ = timed(lambda: totals(parts, design))
    return DESIGNS / seconds


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Best wall time of several runs, and what the last gave."""
    best = float("inf")
    for _ in range(RUNS):
        begun = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - begun)
    return best, result


def hugging_face() -> dict[str, Any]:
    """Our model's shape in the words of a Hugging Face configuration."""
    shape = load_shape(MODEL)
    return {
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.ffn,
        "vocab_size": shape.vocab,
    }


def show(one: Comparison) -> None:
    """Print a peer's table."""
    print(f"{one.peer} {one.version}")
    heads = ("work", "unit", "theirs", "ours", "difference", "theirs, s", "ours, s", "times faster")
    print("  {:28}{:>7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>14}".format(*heads))
    for row in lines(one):
        print("  {:28}{:>7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>14}".format(*row))
    print(f"  ours over arrays of designs: {one.designs_per_s:,.0f} designs/s\n")


def lines(one: Comparison) -> Iterator[tuple[str, ...]]:
    """Give the cells of each row."""
    for row in one.rows:
        whole = row.unit == "cycles"
        yield (
            row.work,
            row.unit,
            f"{row.theirs:.0f}" if whole else f"{row.theirs:.4f}",
            f"{row.ours:.0f}" if whole else f"{row.ours:.4f}",
            f"{row.difference:+.3%}",
            f"{row.theirs_s:.2e}",
            f"{row.ours_s:.2e}",
            f"{row.theirs_s / row.ours_s:,.1f}",
        )


if __name__ == "__main__":
    sys.exit(main())
