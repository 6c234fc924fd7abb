"""Systolic arrays: dataflows, double buffering, ladders."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.sim.families import systolic
from plait.sim.families.base import cost
from plait.sim.spec import load_accelerator


@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
def test_rungs_add_up(dataflow: str) -> None:
    m, n, k = np.meshgrid([1, 5, 300], [1, 7, 300], [1, 9, 300])
    rungs = systolic.rungs(m, n, k, 16, 8, dataflow)
    assert all((values >= 0).all() for values in rungs.values())
    folds = -(-(k if dataflow == "weight_stationary" else m) // 16) * -(-n // 8)
    streamed = m if dataflow == "weight_stationary" else k
    expected = folds * (2 * 16 + 8 + streamed - 2) - 1
    assert (systolic.cycles(m, n, k, 16, 8, dataflow) == expected).all()


def test_double_buffered_weights_load_once_in_sight() -> None:
    single = systolic.cycles(64, 512, 512)
    double = systolic.cycles(64, 512, 512, double_buffered=True)
    assert single - double == (4 * 4 - 1) * 128
    assert systolic.cycles(64, 10, 10, double_buffered=True) == systolic.cycles(64, 10, 10)


def test_a_model_on_it(decoder: Graph) -> None:
    machine = load_accelerator("systolic-128")
    workload = decoder.bind("decode", 2, 32)
    published, ours = (cost(workload, machine, f) for f in ("published", "closed_form"))
    assert (ours.time >= published.time).all()
    assert "memory_stall" not in published.rungs
    output = machine.with_(dataflow="output_stationary")
    assert cost(workload, output).time.sum() > 0


def test_double_buffering_needs_stationary_weights() -> None:
    machine = load_accelerator("systolic-128").with_(dataflow="output_stationary")
    with pytest.raises(SpecError, match="needs dataflow: weight_stationary"):
        machine.with_(double_buffered_weights=True)
