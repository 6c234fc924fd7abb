"""The trace: a JSON that viewers open, one slice an instruction, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.errors import SpecError
from plait.models.graph import Graph
from plait.sim import simulate
from plait.sim.timeline import trace as module


def test_slices_follow_each_other_on_every_track(decoder: Graph, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    report = simulate(decoder, "flightllm-u280", context=40, fidelity="timeline", trace=path)
    events = json.loads(path.read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert list(names.values()) == ["LD", "ST", "MM", "MV", "MISC", "SYS", "unit"]
    slices = [event for event in events if event["ph"] == "X"]
    ends = dict.fromkeys(names, 0.0)
    for one in slices:
        assert one["ts"] >= ends[one["tid"]] - 1e-9
        ends[one["tid"]] = one["ts"] + one["dur"]
    # every event has what the format asks of its kind
    needed = {"X": {"ts", "dur", "tid"}, "M": {"args"}, "s": {"ts", "tid", "id"}}
    needed["f"] = needed["s"] | {"bp"}
    assert all({"ph", "pid", "name", *needed[event["ph"]]} <= event.keys() for event in events)
    assert min(event.get("ts", 0.0) for event in events) >= 0
    # a unit's length, times its runs, adds up to the step
    parts = [s["dur"] * s["args"]["runs in the step"] for s in slices if s["tid"] == len(names) - 1]
    assert sum(parts) * 1e-6 == pytest.approx(report.seconds, rel=1e-9)


def test_tokens_are_arrows_between_slices(decoder: Graph, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    simulate(decoder, "flightllm-u280", context=40, fidelity="timeline", trace=path)
    events = json.loads(path.read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    starts, ends = ({e["id"]: e for e in events if e["ph"] == kind} for kind in "sf")
    assert list(starts) == list(ends) == list(range(len(starts)))
    assert len(starts) == sum(
        bool(name) for one in slices if "waits for" in one["args"]
        for name in one["args"]["waits for"].split(", ")
    )  # fmt: skip

    def within(event: dict) -> list[dict]:
        return [
            one for one in slices
            if one["tid"] == event["tid"] and one["ts"] <= event["ts"] <= one["ts"] + one["dur"]
        ]  # fmt: skip

    for flow in list(starts)[:300]:
        names = json.dumps([within(starts[flow]), within(ends[flow])])
        assert starts[flow]["ts"] <= ends[flow]["ts"], names
        assert any("releases" in one["args"] for one in within(starts[flow])), names
        assert any(one["ts"] == ends[flow]["ts"] for one in within(ends[flow])), names


def test_equal_runs_write_equal_files(decoder: Graph, tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        simulate(
            decoder, "flightllm-small", phase="prefill", context=9, fidelity="timeline", trace=path
        )
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("machine", "fidelity", "said"),
    [("bitmod-lossy", "closed_form", "no instruction queues"),
     ("flightllm-u280", "closed_form", "timeline, verilog or published")],
)  # fmt: skip
def test_what_has_no_instructions_is_refused(
    decoder: Graph, tmp_path: Path, machine: str, fidelity: str, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        simulate(decoder, machine, fidelity=fidelity, trace=tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []


def test_too_long_a_trace_is_refused(
    decoder: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_TRACE", 10)
    with pytest.raises(SpecError, match="too many instructions for a trace"):
        simulate(decoder, "flightllm-u280", fidelity="timeline", trace=tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []


def test_the_published_model_knows_llama_alone(decoder: Graph) -> None:
    with pytest.raises(SpecError, match=r"does not define this.*Llama-2"):
        simulate(decoder, "flightllm-u280", fidelity="published")
