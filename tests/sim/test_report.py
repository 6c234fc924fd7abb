"""Report: one document with the names of the interface, rows that add up to the totals."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.errors import PlaitError, SpecError
from plait.models.graph.graph import Graph
from plait.sim import simulate

CASES = [
    ("bitmod-lossy", "published"),
    ("bitmod-lossy", "closed_form"),
    ("a100-40g", "published"),
    ("h100", "closed_form"),
    ("systolic-128", "closed_form"),
]


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def report(request: pytest.FixtureRequest, decoder: Graph):
    machine, fidelity = request.param
    return simulate(decoder, machine, context=40, batch=2, fidelity=fidelity)


def test_rows_add_up_to_totals(report) -> None:
    table, totals = report.table, report.totals
    time = "cycles" if report.cycles is not None else "seconds"
    ladder = sum(table[name] for name in report.rungs)
    assert (ladder == table[time]).all()
    assert sum(totals["rungs"].values()) == totals[time]
    assert totals["seconds"] == pytest.approx(table["seconds"].sum(), rel=1e-12)
    uses = table[["weight_bytes", "activation_bytes", "kv_bytes"]].sum(axis=1)
    assert (uses == table["bytes"]).all()
    assert report.bytes == table["bytes"].sum()
    assert report.operations == table["operations"].sum()


def test_json_has_the_names_of_the_interface(report) -> None:
    document = json.loads(report.to_json())
    assert list(document)[:6] == ["model", "accelerator", "phase", "context", "batch", "fidelity"]
    assert {"seconds", "operations", "bytes", "memory_bytes"} <= document["totals"].keys()
    assert {"op", "kind", "count", "bound", "seconds"} <= document["rows"][0].keys()
    assert len(document["rows"]) == len(report.table)
    assert document == report.to_dict()
    for name in ("cycles", "operations", "bytes", "compute_cycles", "dram_cycles"):
        assert isinstance(document["totals"].get(name, 0), int)


def test_a_key_without_meaning_is_absent(decoder: Graph) -> None:
    serial = simulate(decoder, "bitmod-lossy").totals
    assert set(serial["energy_pj"]) == {"pe", "sram_read", "sram_write", "dram", "total"}
    assert serial["energy_pj"]["total"] == pytest.approx(
        sum(v for k, v in serial["energy_pj"].items() if k != "total")
    )
    gpu = simulate(decoder, "a100-40g")
    assert not {"cycles", "compute_cycles", "energy_pj", "units"} & gpu.totals.keys()
    assert (gpu.cycles, gpu.energy_joules) == (None, None)
    powered = simulate(decoder, "h100")
    assert powered.energy_joules == pytest.approx(700 * powered.seconds)


def test_csv_holds_the_table(report, tmp_path: Path) -> None:
    path = report.to_csv(tmp_path / "rows.csv")
    read = pd.read_csv(path, keep_default_na=False)
    assert list(read.columns) == list(report.table.columns)
    np.testing.assert_allclose(read["seconds"], report.table["seconds"])
    with pytest.raises(PlaitError, match="cannot be written"):
        report.to_csv(tmp_path / "none" / "rows.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_text_fits_a_terminal(report) -> None:
    text = str(report)
    assert max(map(len, text.splitlines())) <= 80
    assert "share" in text
    assert "toy on" in text
    slowest = report.table.loc[report.table["seconds"].idxmax(), "op"]
    assert slowest in text
    assert "<td>" in report._repr_html_()


def test_text_of_long_names_is_cut_not_wrapped(decoder: Graph) -> None:
    from plait.sim.report.table import as_text

    lines = as_text(simulate(decoder, "bitmod-lossy"), width=72).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == len(str(simulate(decoder, "bitmod-lossy")).splitlines())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fidelity": "exact"}, "unknown fidelity"),
        ({"phase": "train"}, "unknown phase"),
        ({"context": 0}, "context"),
        ({"batch": -1}, "batch"),
        ({"machine": "bitmod"}, "did you mean bitmod"),
        ({"formats": {"weight": "int44"}}, "int4"),
        ({"formats": {"wight": "int4"}}, "formats"),
    ],
)
def test_a_bad_argument_is_one_line(decoder: Graph, changes: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said) as error:
        simulate(decoder, **{"machine": "bitmod-lossy", **changes})
    assert "\n" not in str(error.value)


def test_formats_in_order(decoder: Graph) -> None:
    bits = {
        name: simulate(decoder, "bitmod-lossy", formats=formats).totals["weight_bytes"]
        for name, formats in (("preset", None), ("mine", {"weight": 6.125}))
    }
    # Twice the bits a weight, the same headers.
    assert 1.8 < bits["mine"] / bits["preset"] < 2


def test_a_workload_keeps_its_own_sizes(decoder: Graph) -> None:
    workload = decoder.bind("prefill", 3, 17)
    report = simulate(workload, "h100", context=99)
    assert (report.phase, report.batch, report.context) == ("prefill", 3, 17)


def test_printing_needs_no_terminal(report, capsys: pytest.CaptureFixture[str]) -> None:
    print(report, file=io.StringIO())
    assert capsys.readouterr().out == ""
