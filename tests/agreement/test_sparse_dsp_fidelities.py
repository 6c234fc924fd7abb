"""Two counts of the same programs: added up, and run instruction by instruction."""

from __future__ import annotations

import pytest

from plait.models.graph import load_graph
from plait.sim import simulate

# The closed form lets vector work and stores overlap with products as if buffers never filled.
BOUND = 0.01


@pytest.mark.parametrize("machine", ["flightllm-u280", "flightllm-vhk158"])
@pytest.mark.parametrize(
    ("phase", "batch", "context"),
    [("decode", 1, 1), ("decode", 1, 777), ("decode", 5, 300), ("prefill", 1, 100)],
)
def test_closed_form_and_timeline(machine: str, phase: str, batch: int, context: int) -> None:
    graph = load_graph("llama-2-7b")
    form, line = (
        simulate(graph, machine, phase=phase, batch=batch, context=context, fidelity=fidelity)
        for fidelity in ("closed_form", "timeline")
    )
    assert form.seconds == pytest.approx(line.seconds, rel=BOUND)
    for queue, unit in line.totals["units"].items():
        assert form.totals["units"][queue]["instructions"] == unit["instructions"], queue
        assert form.totals["units"][queue]["seconds"] == pytest.approx(unit["seconds"], rel=1e-9)
    for name in ("weight_bytes", "activation_bytes", "kv_bytes"):
        assert form.totals[name] == line.totals[name]
