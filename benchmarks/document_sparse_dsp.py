"""Measure the tables of docs/families/sparse_dsp.md: accuracy, the paper's figures, resources.

    python benchmarks/document_sparse_dsp.py TABLE [--write FILE]

Without --write the table is only printed. Accuracy is of SmolLM2-135M, whose weights come rounded
to 4 bits, on the novel that the project carries; calibration reads Python's reference. It takes
twenty minutes of one core, the resources as long, the others seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from document_bit_serial import publish

if TYPE_CHECKING:
    import torch

TABLES = ("accuracy", "steps", "requests", "claims", "resources", "clock")
ROUTED = tuple(
    f"plait_sd_{name}" for name in ("load", "reciprocal", "scheduler", "fetch", "special_lane")
)
GROUP = 64  # divides the 576 and 1536 inputs of SmolLM2's linears
_WANDA = {"importance": "wanda"}
# Row, format ("mixed": 2, 3, 4 and 8 bits, 3.5 on average), options of the sparse method.
METHODS: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("dense, INT8", "int8", None),
    ("8:16, magnitude, INT8", "int8", {"kept": 8}),
    ("8:16, Wanda, INT8", "int8", {"kept": 8, **_WANDA}),
    ("half, N a block, Wanda, INT8", "int8", {"density": 0.5, **_WANDA}),
    ("7 of 10, N a block, Wanda, INT8", "int8", {"density": 0.7, **_WANDA}),
    ("dense, mixed 3.5 bits", "mixed", None),
    ("7 of 10, N a block, Wanda, mixed 3.5", "mixed", {"density": 0.7, **_WANDA}),
)


def accuracy_rows(window: int, windows: int) -> Iterator[list[str]]:
    """Perplexity, and what it hides, of pruned and rounded weights with INT8 activations."""
    from plait import api
    from plait.models.llm.texts import botchan
    from plait.models.quantize import collect, compare, greedy_agreement
    from plait.models.quantize.activations import int8_activations
    from plait.models.quantize.metrics import text_windows
    from plait.models.quantize.swap import quantizable
    from plait.modules import bits_per_weight

    module, text = api.load_module("smollm2-135m"), botchan()
    tokens = text_windows(module, _reference(), window, windows)
    statistics = collect(module, tokens, dict(quantizable(module)))
    sizes = f"{windows} windows of {window}"
    head = ["weights", "bits a weight", f"perplexity, {sizes}", "KL, nats", "top-1 kept"]
    yield [*head, "greedy kept, 8 x 16 tokens"]
    for name, format, options in METHODS:
        small = _quantised(module, format, options, statistics)
        with int8_activations(small):
            found = compare(module, small, text, window, windows)
            greedy = greedy_agreement(module, small, text, 8, prompt_tokens=16)
        if name == METHODS[0][0]:
            yield ["as stored", "", f"{found.perplexity_of_original:.1f}", "0", "100 %", "100 %"]
        yield [
            name,
            f"{bits_per_weight(small):.2f}",
            f"{found.perplexity:.1f}",
            f"{found.kl_divergence:.3f}",
            f"{found.top1_agreement:.1%}".replace("%", " %"),
            f"{greedy:.1%}".replace("%", " %"),
        ]


def _quantised(
    module: torch.nn.Module, format: str, options: dict[str, Any] | None, statistics: Any
) -> torch.nn.Module:
    from plait import api
    from plait.models.quantize import quantize_mixed

    chosen = {} if options is None else {"method": "sparse", **options}
    if format == "mixed":
        mixed: torch.nn.Module = quantize_mixed(module, 3.5, statistics, GROUP, **chosen)
        return mixed
    if "importance" in chosen:
        chosen["inputs"] = statistics
    small: torch.nn.Module = api.quantize(module, format, group_size=GROUP, **chosen)
    return small


def _reference() -> str:
    """The reference of Python that every installation carries."""
    import pydoc_data.topics

    topics = pydoc_data.topics.topics
    return "\n".join(topics[name] for name in sorted(topics))


def step_rows() -> Iterator[list[str]]:
    """One step of Llama-2-7B: the published model, ours, and what was measured."""
    from plait.claims_sparse_dsp import MACHINES
    from plait.measured_sparse_dsp import MEASURED_CYCLES
    from plait.models.graph import load_graph
    from plait.sim import load_accelerator, simulate

    graph = load_graph("llama-2-7b")
    yield ["machine", "step", "`published` ms", "ours ms", "measured ms", "`published` token/s"]
    for machine in MACHINES:
        clock_hz = getattr(load_accelerator(machine), "clock_hz")  # noqa: B009
        for phase, tokens in (("decode", 128), ("decode", 512), ("prefill", 128), ("prefill", 512)):
            theirs, ours = (
                simulate(graph, machine, phase=phase, context=tokens, fidelity=fidelity).seconds
                for fidelity in ("published", "closed_form")
            )
            is_measured = machine == "flightllm-u280" and phase == "decode"
            measured = f"{MEASURED_CYCLES[tokens] / clock_hz * 1e3:.2f}" if is_measured else ""
            rate = (1 if phase == "decode" else tokens) / theirs
            step = f"{phase}, {tokens} tokens"
            times = [f"{theirs * 1e3:.2f}", f"{ours * 1e3:.2f}", measured]
            yield [f"`{machine}`", step, *times, f"{rate:.1f}"]


def request_rows() -> Iterator[list[str]]:
    """The six requests of the authors' log on both machines."""
    from plait.claims_sparse_dsp import MACHINES, requests

    head = ["machine", "prompt + new", "prefill s", "decode s", "token/s", "token/J"]
    yield [*head, "over vLLM", "over PyTorch"]
    for machine in MACHINES:
        for r in requests(machine):
            joule = "" if r.tokens_per_joule is None else f"{r.tokens_per_joule:.2f}"
            times = [f"{r.prefill_s:.3f}", f"{r.decode_s:.3f}", f"{r.tokens_per_s:.1f}", joule]
            ratios = [f"{r.over_gpu_decode:.2f}", f"{r.over_gpu_naive:.2f}"]
            yield [f"`{machine}`", f"{r.prompt} + {r.generated}", *times, *ratios]


def claim_rows() -> Iterator[list[str]]:
    """The paper's ratios, recomputed."""
    from plait.claims_sparse_dsp import claims

    yield ["claim", "paper", "recomputed", "reproduced", "from"]
    for claim in claims():
        ours = "" if claim.ours is None else f"{claim.ours:.2f}"
        verdict = "yes" if claim.is_reproduced else "no"
        yield [claim.what, f"{claim.claimed}", ours, verdict, claim.remark]


def resource_rows() -> Iterator[list[str]]:
    """What flightllm-small takes of UltraScale+, module by module."""
    from plait import api

    yield ["module", "copies", "DSP48E2", "LUT", "FF", "block RAM, 36 kbit"]
    machine = api.load_accelerator("flightllm-small").with_(**{"core.dsp48e2": True})
    found = api.map_to_fpga(machine, "xcup")
    for one in found.modules:
        if one.dsps or one.luts or one.block_rams:
            yield _resources(f"`{one.name}`", str(one.count), one)
    yield _resources("all", "", found.total)


def clock_rows() -> Iterator[list[str]]:
    """Modules of flightllm-small placed and routed."""
    from plait import api

    yield ["module, LFE5U-85F", "MULT18X18D", "LUT4", "FF", "block RAM, 18 kbit", "clock MHz"]
    for module in ROUTED:
        found = api.map_to_fpga("flightllm-small", "ecp5", module, is_routed=True)
        cells = [
            f"{used:,} of {there:,}" if used else "0"
            for used, there in (
                found.used.get(name, (0, 0))
                for name in ("MULT18X18D", "TRELLIS_COMB", "TRELLIS_FF", "DP16KD")
            )
        ]
        yield [f"`{module}`", *cells, f"{found.clock_hz / 1e6:.1f}"]


def _resources(name: str, count: str, one: Any) -> list[str]:
    numbers = (one.dsps, one.luts, one.flip_flops)
    return [name, count, *(f"{number:,}" for number in numbers), f"{one.block_rams:g}"]


def main() -> None:
    """Parse the command line; print or write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args()
    rows = {
        "accuracy": lambda: accuracy_rows(options.window, options.windows),
        "steps": step_rows,
        "requests": request_rows,
        "claims": claim_rows,
        "resources": resource_rows,
        "clock": clock_rows,
    }[options.table]()
    publish(rows, options.table, options.write)


if __name__ == "__main__":
    main()
