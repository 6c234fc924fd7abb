"""Traces and clusters that make no sense: one line with row or key, before anything runs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from plait.cli import main
from plait.errors import PlaitError
from plait.sim.serving import load_cluster, load_requests, serve
from plait.sim.serving.request import check

HEADER = "arrival_s,context,generated\n"
TRACES = {
    "no file": (None, "cannot be read: no such file"),
    "empty": ("", "an empty file, expected the columns arrival_s, context, generated"),
    "only a header": (HEADER, "no requests, expected one row or more"),
    "missing column": ("arrival_s,context\n0,5\n", "no column generated among arrival_s, context"),
    "negative": (HEADER + "0,5,5\n1,-5,5\n", "row 2: context: out of range, got -5"),
    "zero tokens": (HEADER + "0,5,0\n", "row 1: generated: out of range, got 0"),
    "half a token": (HEADER + "0,5.5,1\n", "row 1: context: out of range, got 5.5"),
    "text": (HEADER + "0,5,many\n", "row 1: generated: not a number, got 'many'"),
    "hole": (HEADER + "0,5,1\n1,,1\n", "row 2: context: not a number, got 'nothing'"),
    "nan": (HEADER + "0,5,1\n1,nan,1\n", "row 2: context: not a number, got 'nan'"),
    "infinite": (HEADER + "inf,5,1\n", "row 1: arrival_s: not a number, got inf"),
    "backwards": (
        HEADER + "0,5,1\n3,5,1\n2,5,1\n",
        "row 3: arrival_s: time runs backwards, got 2.0, expected at least 3, that of the row",
    ),
    "too long": (HEADER + "0,5,1\n0,90,11\n", "row 2: context + generated: a request longer than"),
    "ragged": (HEADER + "0,5,1\n0,5,1,1,1\n", "not a table"),
}


@pytest.mark.parametrize("case", TRACES)
def test_traces(case: str, tmp_path: Path, cluster) -> None:
    text, told = TRACES[case]
    path = tmp_path / "trace.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PlaitError) as caught:
        serve(path, cluster(kv_tokens=96), out=tmp_path / "out")
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_row_is_named_beyond_the_first_piece(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"{k},5,1" for k in range(20_000)]
    rows[19_000] = "18998.5,5,1"
    path.write_text(HEADER + "\n".join(rows))
    with pytest.raises(PlaitError, match="row 19001: arrival_s: time runs backwards"):
        check(load_requests(path))


def test_cut_gzip(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    whole = gzip.compress((HEADER + "0,5,1\n" * 1000).encode(), mtime=0)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PlaitError, match="a damaged or cut gzip file"):
        check(load_requests(path))


def test_columns_in_any_order_and_others_beside(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("generated, user,arrival_s, context\n3,anna,0,7\n1,ben,0,9\n")
    found = check(load_requests(path))
    assert (found.count, found.context_mean, found.longest_total) == (2, 8.0, 10)


BASE = """\
model: llama-3-70b
formats: w16a16kv16
policy: attention_offload
devices:
  - {machine: h100, count: 2, role: compute}
  - {machine: h20, count: 4, role: memory}
network: {bandwidth_bytes_per_s: 45.7e9, round_trip_s: 33e-6}
"""
CLUSTERS = {
    "unknown key": ("network:", "networks:", "7: networks: unknown key: did you mean network?"),
    "unknown policy": ("attention_offload", "attention_ofload", "did you mean attention_offload"),
    "unknown machine": (
        "machine: h20",
        "machine: h2o",
        "6: devices[1].machine: unknown machine 'h2o'",
    ),
    "unknown key inside": ("count: 4", "cnt: 4", "6: devices[1].cnt: unknown key: did you mean"),
    "no such role": ("role: memory", "role: storage", "6: devices[1].role: not one of the choices"),
    "role of another policy": (
        "role: memory",
        "role: decode",
        "devices[1].role: no role of policy",
    ),
    "twice": ("policy:", "model: a\npolicy:", "model: given twice"),
    "weights do not fit": (
        "count: 2, role",
        "count: 1, role",
        "5: devices[0]: 1 x h100 cannot hold llama-3-70b",
    ),
    "heads cannot be divided": (
        "count: 4",
        "count: 3",
        "6: devices[1].count: 8 KV heads cannot be divided equally over the memory devices, got 3",
    ),
    "no network": ("network: {b", "# {b", "network: missing"),
    "negative count": ("count: 4", "count: -4", "devices[1].count: out of range, got -4"),
    "unknown model": ("llama-3-70b", "llama-3-71b", "llama-3-71b"),
    "changed field": (
        "role: compute}",
        "role: compute, set: {memory.capacity: 5}}",
        "5: devices[0].machine: h100: memory.capacity: unknown key",
    ),
    "uneven replicas": (
        "network:",
        "pipelining: {batches_in_flight: 4}\nnetwork:",
        "devices[0].count: 4 batches in flight need 3 equal replicas, got 2",
    ),
    "formats": ("w16a16kv16", "w16a16", "formats"),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_clusters(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line: exit status 2, one line, nothing half-written."""
    old, new, told = CLUSTERS[case]
    assert old in BASE
    path = tmp_path / "cluster.yaml"
    path.write_text(BASE.replace(old, new, 1))
    trace = tmp_path / "trace.csv"
    trace.write_text(HEADER + "0,5,1\n")
    page = tmp_path / "page.html"
    assert main(["serve", str(trace), str(path), "--html", str(page)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert told in output.err
    assert not page.exists()


def test_plain_devices_that_are_too_small() -> None:
    described = load_cluster(
        {
            "model": "llama-3-70b",
            "policy": "chunked_prefill",
            "devices": [{"machine": "h100", "count": 4, "tensor_parallel": 1}],
        }
    )
    told = "1 x h100 with 72.0 GB usable cannot hold llama-3-70b and any KV"
    with pytest.raises(PlaitError, match=told):
        serve({"requests": 1, **LOAD}, described)


LOAD = {
    "arrivals": {"kind": "poisson", "rate_per_s": 5},
    "lengths": {"kind": "fixed", "context": 5, "generated": 5},
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"requests": 0}, "requests: requests: out of range, got 0"),
        ({"arrivals": {"kind": "poison", "rate_per_s": 5}}, "arrivals"),
        ({"arrivals": {"kind": "poisson", "rate_per_s": 0}}, "rate_per_s: out of range"),
        ({"lenghts": {}}, "lenghts: unknown key: did you mean lengths?"),
    ],
)
def test_generators(change, told: str) -> None:
    with pytest.raises(PlaitError) as caught:
        load_requests({"requests": 1, **LOAD, **change})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("phase,batch,context\n", "no column seconds"),
        ("phase,batch,context,seconds\nprefill,1,5,0\n", "row 1: seconds: not a positive number"),
        ("phase,batch,context,seconds\nprefill,1,5,1\n", "expected prefill and decode rows"),
        (
            "phase,batch,context,seconds\nprefill,1,5,1\ndecode,1,5,1\ndecode,2,6,1\n",
            "decode rows leave holes",
        ),
    ],
)
def test_measured_tables(text: str, told: str, tmp_path: Path, cluster, trace) -> None:
    path = tmp_path / "times.csv"
    path.write_text(text)
    with pytest.raises(PlaitError) as caught:
        serve(trace((0, 5, 1)), cluster(step_times=str(path)))
    assert told in str(caught.value)
