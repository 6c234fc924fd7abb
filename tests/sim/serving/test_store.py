"""A run that is killed goes on where it was, and gives the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.errors import PlaitError
from plait.sim.serving import serve, store

LOAD = {
    "requests": 60_000,
    "arrivals": {"kind": "gamma", "rate_per_s": 8, "burstiness": 2},
    "lengths": {"kind": "log_normal", "context": 40, "generated": 20, "longest": 500},
    "seed": 3,
}

RUN = """
import json, sys, time
from plait.sim.serving import run, serve, store
store._EVERY_S = 0.0
pieces = run.replay
def slow(*arguments):  # so that the kill comes between two checkpoints
    for piece in pieces(*arguments):
        print("piece", flush=True)
        time.sleep(0.2)
        yield piece
run.replay = slow
load, cluster, out = json.loads(sys.argv[1])
serve(load, cluster, out=out)
"""


@pytest.mark.slow
def test_kill_and_go_on(cluster, tmp_path: Path) -> None:
    described = cluster(kv_tokens=2000)
    out = tmp_path / "out"
    command = [sys.executable, "-c", RUN, json.dumps([LOAD, described, str(out)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):  # three pieces are played and kept
            assert process.stdout.readline() == "piece\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = np.load(out / "checkpoint.npz")
    assert 0 < int(kept["taken"]) < LOAD["requests"]
    seen: list[int] = []
    resumed = serve(LOAD, described, out=out, progress=lambda done, _: seen.append(done))
    assert seen[0] > 8192  # did not begin anew
    whole = serve(LOAD, described)
    assert resumed.to_json() == whole.to_json()
    pd.testing.assert_frame_equal(resumed.requests, whole.requests)
    pd.testing.assert_frame_equal(resumed.timeline, whole.timeline)


def test_a_finished_run_is_read_back(cluster, trace, tmp_path: Path) -> None:
    requests = trace((0, 10, 3), (1, 10, 3))
    first = serve(requests, cluster(), out=tmp_path / "out")
    begin = time.monotonic()
    again = serve(requests, cluster(), out=tmp_path / "out")
    assert time.monotonic() - begin < 30
    assert again.to_json() == first.to_json()
    pd.testing.assert_frame_equal(again.requests, first.requests)


def test_another_run_is_refused(cluster, trace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    serve(trace((0, 10, 3)), cluster(), out=out)
    before = sorted((path.name, path.read_bytes()) for path in out.iterdir())
    with pytest.raises(PlaitError, match="holds another run"):
        serve(trace((0, 10, 4)), cluster(), out=out)
    assert sorted((path.name, path.read_bytes()) for path in out.iterdir()) == before


def test_a_folder_of_something_else_is_refused(cluster, trace, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(PlaitError, match="is not empty and holds no run"):
        serve(trace((0, 10, 3)), cluster(), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_checkpoint_is_told(cluster, trace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    serve(trace((0, 10, 3)), cluster(), out=out)
    (out / "checkpoint.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(PlaitError, match=r"checkpoint\.npz: cannot be read"):
        serve(trace((0, 10, 3)), cluster(), out=out)


def test_memory_grows_with_requests_in_flight(cluster) -> None:
    """Ten times the trace, the same slots, and no more rows kept than a checkpoint's worth."""
    states = []

    class Watched(store.Memory):
        def write(self, rows: np.ndarray) -> None:
            assert len(rows) <= 2 * 4096

        def checkpoint(self, state, more, force=False) -> None:
            states.append(sum(array.nbytes for array in state))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plait.sim.serving.run.Memory", Watched)
        serve({**LOAD, "requests": 100_000}, cluster(kv_tokens=20_000))
    assert max(states) == states[0]
