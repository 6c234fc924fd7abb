"""Interpolated step times beside the families they are taken from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from plait.sim import load_accelerator, simulate
from plait.sim.serving import serve
from plait.sim.serving.times import Grids, decode_seconds, probe, tabulate

FAMILIES = {
    "roofline": "h100",
    "roofline, split": load_accelerator("h100").with_(**{"tensor_parallel.devices": 3}),
    "bit_serial": "bitmod-lossless",
    "systolic": "systolic-128",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_may_serve(family: str, model) -> None:
    machine = load_accelerator(FAMILIES[family])
    tables = tabulate(model, [(machine, machine)], Grids.up_to(300, 40, 300))
    assert probe(model, machine, tables, 0) < 0.05
    for batch, context in ((1, 1), (40, 300)):  # the corners are exact
        wanted = simulate(
            model.graph, machine, context=context, batch=batch, formats="w16a16kv16"
        ).seconds
        assert decode_seconds(tables, 0, batch, context) == pytest.approx(wanted, rel=1e-9)


def test_grids_hold_their_ends_and_ratio() -> None:
    for largest in (1, 2, 3, 50, 4096, 100_001):
        grid = Grids.up_to(largest, 1, 1).tokens
        assert (grid[0], grid[-1]) == (1, max(largest, 2))
        assert (np.diff(grid) >= 1).all()
        assert (np.diff(grid) <= np.maximum(1, 0.1 * grid[:-1])).all()


def test_offload_takes_the_time_of_its_family() -> None:
    """Two batches of two in flight: the family's own step, and prompts on the compute devices."""
    described = {
        "model": "llama-2-7b",
        "formats": "w16a16kv16",
        "policy": "attention_offload",
        "devices": [
            {"machine": "h100", "count": 1, "role": "compute"},
            {"machine": "h20", "count": 2, "role": "memory"},
        ],
        "network": {"bandwidth_bytes_per_s": 45.7e9, "round_trip_s": 33e-6},
    }
    machine = load_accelerator("lamina-h100-h20").with_(
        **{
            "memory.count": 2,
            "overlap": True,
            "pipelining.batches_in_flight": 2,
            "network.links": "per_compute_device",
        }
    )
    requests = pd.DataFrame({"arrival_s": [0.0] * 4, "context": [500] * 4, "generated": [2] * 4})
    result = serve(requests, described)
    step = simulate("llama-2-7b", machine, context=501, batch=2, formats="w16a16kv16")
    gap = result.time_between_tokens_s["mean"]
    assert gap == pytest.approx(step.seconds, rel=max(2 * result.step_time_error, 1e-6))
    remote = serve(requests, described | {"prefill": "remote"})
    assert remote.time_to_first_token_s["p99"] == 0
    assert remote.time_between_tokens_s["mean"] == pytest.approx(gap)


def test_measured_times_are_medians(cluster, trace, tmp_path) -> None:
    rows = [("prefill", 1, 10, s) for s in (1.0, 2.0, 9.0)] + [("decode", 1, 10, 0.5)]
    path = tmp_path / "times.csv"
    pd.DataFrame(rows, columns=["phase", "batch", "context", "seconds"]).to_csv(path, index=False)
    result = serve(trace((0, 10, 2)), cluster(step_times=str(path)))
    assert result.requests.response_s[0] == pytest.approx(2.5)
