"""Views of attention offloading measured against each other and against what its paper claims.

Source of the claims: "Efficient and Economic LLM Inference with Attention Offloading" (arXiv
2405.01814), version 2. Version 1 states other figures for other machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from plait.measured import Error, graph, reference, relative
from plait.sim import load_accelerator, simulate
from plait.sim.families.offload import model_of
from plait.sim.families.offload_equal_cost import EqualCost, equal_cost

__all__ = [
    "CLAIMED_BATCH_RATIO",
    "CLAIMED_SAVINGS",
    "SWITCHES",
    "at_equal_cost",
    "claims",
    "measure",
]

CLAIMED_BATCH_RATIO = 2.39
CLAIMED_THROUGHPUT_RATIOS = 1.161, 1.901
CLAIMED_SAVINGS = {"llama-65b": 0.132, "llama-3-70b": 0.035}  # by overlap, at most, context 4096
_MACHINE = "lamina-h100-h20"

# How the comparison of equal cost is sharpened: changes of the machine, changes of the plain
# devices, whether the network takes time. The link's latency, the shares and the host's time are
# round figures of the size that such systems show, not fitted to the paper's result.
_FREE = {"tensor_parallel.link_bytes_per_s": 1e18}
_LINK = {"tensor_parallel.link_bytes_per_s": 450e9, "tensor_parallel.link_latency_s": 3e-6}
_OWN = {"network.links": "per_compute_device"}
_SHARES = {"efficiency.compute": 0.7, "efficiency.memory": 0.8}
SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "ideal": ({"tensor_parallel": None}, _FREE, False),
    "one link of 45.7 GB/s": ({"tensor_parallel": None}, _FREE, True),
    "a link for each H100": ({"tensor_parallel": None} | _OWN, _FREE, True),
    "+ all-reduce": (_OWN | _LINK, _LINK, True),
    "+ 5 ms on the host": (_OWN | _LINK | {"host_overhead_s": 5e-3}, _LINK, True),
    "+ efficiencies": (
        _OWN | _LINK | _SHARES | {"host_overhead_s": 5e-3, "efficiency.attention_memory": 0.8},
        _LINK | _SHARES | {"efficiency.attention_memory": 0.6},
        True,
    ),
}


def measure() -> Iterator[Error]:
    """All lines of the family."""
    yield _published()
    yield _closed_form()
    yield _events()
    yield from claims()


def at_equal_cost(switch: str) -> dict[tuple[str, str], EqualCost]:
    """Compare with plain H100s that cost as much, by model and trace.

    Args:
        switch: one of `SWITCHES`.
    """
    changes, plain, network = SWITCHES[switch]
    found = {}
    for row in reference("lamina_equal_cost.csv"):
        machine = _pools(row).with_(**{"pipelining.batches_in_flight": 2, **changes})
        devices = {"tensor_parallel.devices": int(row["h100"]), **plain}
        gpus = load_accelerator("h100").with_(**devices)
        workload = graph(row["model"]).bind("decode", formats="w16a16kv16")
        found[row["model"], row["trace"]] = equal_cost(
            model_of(workload, machine),
            machine,
            gpus,
            prompt=float(row["prompt"]),
            generated=float(row["generated"]),
            network=network,
        )
    return found


def _published() -> Error:
    differences = []
    for row in reference("lamina.csv"):
        totals = _run(row, "published")
        pairs = (
            ("non_attention_seconds", 1e3, "non_attention_ms"),
            ("attention_seconds", 1e3, "attention_ms"),
            ("required_bandwidth_bytes_per_s", 1e-9, "bandwidth_gb_per_s"),
        )
        differences += [relative(totals[ours] * f, float(row[them])) for ours, f, them in pairs]
    what = "times and bandwidth of `offload`, `published`"
    return Error(
        what, "the paper's formula by hand, 4 decimals", len(differences), max(differences)
    )


def _closed_form() -> Error:
    """Every op on its pool, against the formula of the whole model: its N is the paper's bytes."""
    differences = []
    for row in reference("lamina.csv"):
        formula, ops = (_run(row, fidelity)["seconds"] for fidelity in ("published", "closed_form"))
        differences.append(relative(ops, formula))
    what = "time of `offload`, `closed_form`, with activations and all-reduces"
    return Error(what, "`published`", len(differences), max(differences))


def _events() -> Error:
    differences = []
    rows = list(reference("lamina.csv"))
    for row in (rows[0], rows[-1]):
        for batches in range(1, 9):
            changes = {"pipelining.batches_in_flight": batches, "overlap": batches % 2 == 0}
            formula, events = (
                _run(row, fidelity, changes)["seconds"] for fidelity in ("closed_form", "timeline")
            )
            differences.append(relative(events, formula))
    return Error(
        "time of `offload`, `timeline`", "`closed_form`", len(differences), max(differences)
    )


def claims() -> Iterator[Error]:
    """What the paper states of its own system, beside ours."""
    table = at_equal_cost("ideal")
    batch = float(np.mean([both.batch_ratio for both in table.values()]))
    against = f"the paper's {CLAIMED_BATCH_RATIO}"
    what = f"mean batch over that of plain H100s of equal cost: {batch:.2f}"
    yield Error(what, against, len(table), relative(batch, CLAIMED_BATCH_RATIO))
    for end, place, claimed in zip(
        (min, max), ("least", "largest"), CLAIMED_THROUGHPUT_RATIOS, strict=True
    ):
        ours = {
            switch: end(both.throughput_ratio for both in at_equal_cost(switch).values())
            for switch in ("ideal", "+ efficiencies")
        }
        for switch, value in ours.items():
            what = f"{place} throughput over plain H100s, {switch}: {value:.2f}"
            yield Error(what, f"the paper's {claimed:.2f}", len(table), relative(value, claimed))
    for model, claimed in CLAIMED_SAVINGS.items():
        batches = (20, 40, 80, 160, 320)
        saved = max(_saved(model, batch) for batch in batches)
        what = f"time saved by overlap, {model}: {100 * saved:.1f} %"
        yield Error(
            what, f"the paper's {100 * claimed:.1f} %", len(batches), relative(saved, claimed)
        )


def _saved(model: str, batch: int) -> float:
    pools = {"compute.count": 2, "memory.count": 4}
    plain, beside = (
        simulate(
            graph(model),
            load_accelerator(_MACHINE).with_(**pools, overlap=overlap),
            batch=batch,
            context=4096,
        ).seconds
        for overlap in (False, True)
    )
    return 1 - beside / plain


def _run(
    row: dict[str, str], fidelity: str, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    report = simulate(
        graph("llama-3-70b"),
        _pools(row).with_(**(changes or {})),
        batch=int(row["batch"]),
        context=int(row["context"]),
        fidelity=fidelity,
        formats="w16a16kv16",
    )
    return report.totals


def _pools(row: dict[str, str]) -> Any:
    counts = {"compute.count": int(row["compute"]), "memory.count": int(row["memory"])}
    return load_accelerator(_MACHINE).with_(**counts)
