"""Sweeps: every row is what one simulation gives; killed runs go on; executors agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import plait
from plait.errors import PlaitError, SpecError
from plait.models.graph.graph import Graph
from plait.sim.sweep import load_space, search, sweep
from plait.sim.sweep.store import Store

SPACE = {
    "model": "smollm2-135m",
    "machine": "bitmod-lossy",
    "context": [64, 256],
    "vary": {
        "array.decode.rows": [8, 64],
        "formats.weight": ["int4", "bitmod3"],
        "dram.port_bits_per_cycle": [64, 256],
        "pe.guard_bits": [3, 4],
    },
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return plait.load_model("smollm2-135m")


@pytest.mark.parametrize("machine", ["bitmod-lossy", "bitmod-small"])
def test_a_row_is_what_one_simulation_gives(graph: Graph, machine: str) -> None:
    frame = sweep({**SPACE, "machine": machine}, graph)
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    described = plait.load_accelerator(machine)
    for row in frame.sample(6, random_state=0).to_dict("records"):
        keys = ("array.decode.rows", "dram.port_bits_per_cycle", "pe.guard_bits")
        report = plait.simulate(
            graph,
            described.with_(**{key: row[key] for key in keys}),
            context=row["context"],
            formats={"weight": row["formats.weight"]},
        )
        assert row["cycles"] == report.cycles
        assert row["seconds"] == report.seconds
        assert row["bytes"] == report.totals["bytes"]
        assert row["energy_joules"] == pytest.approx(report.energy_joules, rel=1e-12)


def test_rows_come_in_the_order_of_the_axes(graph: Graph) -> None:
    frame = sweep(SPACE, graph)
    keys = ["context", *SPACE["vary"]]
    expected = pd.MultiIndex.from_product([SPACE["context"], *SPACE["vary"].values()])
    assert [tuple(row) for row in frame[keys].itertuples(index=False)] == list(expected)


def test_a_constraint_leaves_rows_out(graph: Graph) -> None:
    whole = sweep(SPACE, graph)
    middle = float(whole["area_mm2"].median())
    part = sweep({**SPACE, "where": f"area_mm2 <= {middle!r} and formats.weight == 'int4'"}, graph)
    kept = whole[(whole["area_mm2"] <= middle) & (whole["formats.weight"] == "int4")]
    pd.testing.assert_frame_equal(part, kept.reset_index(drop=True))


def test_machines_of_two_families_and_no_array(graph: Graph) -> None:
    frame = sweep({"model": "x", "machine": ["ant", "a100-40g", "systolic-128"]}, graph)
    assert frame["machine"].tolist() == ["ant", "a100-40g", "systolic-128"]
    assert frame["seconds"].gt(0).all()
    assert np.isnan(frame["area_mm2"][1])
    for name, seconds in zip(frame["machine"], frame["seconds"], strict=True):
        assert seconds == plait.simulate(graph, name, context=256).seconds


def test_a_machine_without_area_is_named_before_any_work(graph: Graph, tmp_path: Path) -> None:
    """Its designs would be left out by any comparison with a column that it leaves empty."""
    mixed = {"model": "x", "machine": ["ant", "a100-40g"], "where": "area_mm2 < 100"}
    with pytest.raises(SpecError, match="where: a100-40g has no area_mm2, expected one of"):
        sweep(mixed, graph, tmp_path / "a.parquet")
    with pytest.raises(SpecError, match="a100-40g has no energy_joules"):
        sweep({"model": "x", "machine": "a100-40g", "where": "energy_joules < 1"}, graph)
    with pytest.raises(SpecError, match="objectives: a100-40g has no area_mm2"):
        search({**mixed, "where": "seconds < 1"}, graph, trials=4)
    with pytest.raises(SpecError, match="where: unknown column 'area': did you mean area_mm2"):
        sweep({**mixed, "where": "area < 1"}, graph, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []
    assert len(sweep({**mixed, "machine": ["ant", "bitmod-lossy"]}, graph)) == 2


def test_extra_columns_follow_an_axis(graph: Graph) -> None:
    extra = {"formats.weight": {"int4": {"perplexity": 51.0}}}
    frame = sweep(SPACE, graph, extra=extra)
    assert set(frame["perplexity"][frame["formats.weight"] == "int4"]) == {51.0}
    assert frame["perplexity"][frame["formats.weight"] == "bitmod3"].isna().all()


def test_a_file_is_written_once_and_read_back(graph: Graph, tmp_path: Path) -> None:
    out = tmp_path / "sweep.parquet"
    first = sweep(SPACE, graph, out)
    assert list(tmp_path.iterdir()) == [out]
    changed = out.stat().st_mtime_ns
    pd.testing.assert_frame_equal(sweep(SPACE, graph, out), first)
    assert out.stat().st_mtime_ns == changed
    with pytest.raises(PlaitError, match="not the result of this space"):
        sweep({**SPACE, "batch": 2}, graph, out)
    assert len(sweep({**SPACE, "batch": 2}, graph, out, overwrite=True)) == len(first)


def test_finished_chunks_are_not_repeated(graph: Graph, tmp_path: Path) -> None:
    """A chunk that is there is taken as it is: its numbers, changed here, come out at the end."""
    out = tmp_path / "sweep.parquet"
    space = load_space(SPACE, graph)
    store = Store(out, space.fingerprint, 5, len(space))
    whole = sweep(space)
    marked = whole[5:10].assign(cycles=-1)
    store.write(1, marked)
    (store.folder / ".00000002.parquet.abc.parquet").write_bytes(b"half")
    done = []
    frame = sweep(space, out=out, progress=lambda now, total: done.append((now, total)))
    assert frame["cycles"][5:10].tolist() == [-1] * 5
    pd.testing.assert_frame_equal(frame.drop(range(5, 10)), whole.drop(range(5, 10)))
    assert done[-1] == (32, 32)
    assert len(done) == 6  # of 7 chunks
    assert list(tmp_path.iterdir()) == [out]


def test_two_runs_do_not_write_one_file(graph: Graph, tmp_path: Path) -> None:
    out = tmp_path / "sweep.parquet"
    space = load_space(SPACE, graph)
    store = Store(out, space.fingerprint, 5, len(space))
    with store.locked(), pytest.raises(PlaitError, match="another run"):
        sweep(space, out=out)
    other = load_space({**SPACE, "batch": 3}, graph)
    with pytest.raises(PlaitError, match="unfinished run of another space"):
        sweep(other, out=out)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_executors_agree(executor: str, tmp_path: Path) -> None:
    space = {**SPACE, "context": [64, 128, 256]}
    one = sweep(space)
    many = sweep(space, out=tmp_path / "a.parquet", executor=executor, workers=2)
    pd.testing.assert_frame_equal(one, many)


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """As a user types it: SIGKILL in the middle, then the same command again.

    Finished chunks are not written again, and the end is right.
    """
    out, space = tmp_path / "sweep.parquet", tmp_path / "space.yaml"
    space.write_text(
        "model: smollm2-135m\nmachine: bitmod-lossy\nvary:\n"
        "  array.decode.rows: {from: 1, to: 500, step: 1}\n"
        "  clock_hz: {from: 1e9, to: 2e9, count: 500}\n"
    )
    plait_command = str(Path(sys.executable).with_name("plait"))
    command = [plait_command, "sweep", str(space), "-o", str(out), "--workers", "1", "--json"]
    first = subprocess.Popen(command)
    parts = out.with_name(out.name + ".parts")
    while len(list(parts.glob("[0-9]*.parquet"))) < 2:
        assert first.poll() is None
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in parts.glob("[0-9]*.parquet")}
    assert not out.exists()
    second = subprocess.Popen(command)
    untouched = dict(kept)
    while second.poll() is None:
        for name in kept:
            path = parts / name
            try:
                untouched[name] = path.stat().st_mtime_ns
            except FileNotFoundError:
                break  # the end: the parts have become the one file
        time.sleep(0.01)
    assert second.returncode == 0
    assert untouched == kept
    frame = pd.read_parquet(out)
    assert len(frame) == 250_000
    assert not frame.duplicated(["array.decode.rows", "clock_hz"]).any()


def test_bad_arguments(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown executor"):
        sweep(SPACE, graph, executor="treads")
    with pytest.raises(SpecError, match=r"not a \.parquet file"):
        sweep(SPACE, graph, tmp_path / "a.csv")
    with pytest.raises(PlaitError, match="cannot be written"):
        sweep(SPACE, graph, tmp_path / "none" / "a.parquet")
    with pytest.raises(SpecError, match="unknown column"):
        sweep({**SPACE, "where": "aria < 3"}, graph)
