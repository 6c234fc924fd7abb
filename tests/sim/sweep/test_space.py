"""Spaces: ranges, names, bounds and constraints, and the line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.sim.sweep import load_space
from plait.sim.sweep.axis import axis_of
from plait.sim.sweep.where import parse_where

BASE = {"model": "llama-2-7b", "machine": "bitmod-lossy"}


def test_a_file_as_a_user_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "model: llama-2-7b\nmachine: bitmod-lossy\ncontext: [256, 1024]\nvary:\n"
        "  array.decode.rows: {from: 8, to: 256, step: 8}\n"
        "  formats.weight: [int4, bitmod4]\n"
        "  clock_hz: {from: 0.5e9, to: 2e9, count: 8, scale: log}\n"
        'where: "area_mm2 < 4"\n'
    )
    space = load_space(path)
    assert len(space) == 2 * 32 * 2 * 8
    assert [axis.key for axis in space.axes] == [
        "context", "array.decode.rows", "formats.weight", "clock_hz",
    ]  # fmt: skip
    assert space.axes[1].values.dtype == np.int64
    assert space.fixed["phase"] == "decode"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modell": 1}, "unknown key 'modell': did you mean model"),
        ({"machine": None}, "machine: no name, got None"),
        ({"machine": "bitmod-losy"}, "did you mean bitmod-lossy"),
        ({"phase": "prefil"}, "expected decode or prefill"),
        ({"context": 0}, "context: out of range, got 0"),
        ({"context": [256, 1.5]}, "context: out of range, got 1.5"),
        ({"vary": {"array.decode.row": [1]}}, "unknown key: did you mean rows"),
        ({"vary": {"array.decode.rows": [1, 0]}}, "out of range, got 0, expected at least 1"),
        ({"vary": {"array.decode.rows": []}}, "no values"),
        ({"vary": {"array.decode.rows": [4, 4]}}, "given twice"),
        ({"vary": {"array.decode.rows": [True]}}, "cannot be varied"),
        ({"vary": {"array.decode.rows": {"from": 1, "to": 9}}}, "either step or count"),
        ({"vary": {"array.decode.rows": {"from": 9, "to": 1, "step": 1}}}, "beyond"),
        ({"vary": {"clock_hz": {"from": 0, "to": 1, "count": 3, "scale": "log"}}}, "positive"),
        ({"vary": {"clock_hz": {"from": 1, "to": 2, "stepp": 1}}}, "did you mean step"),
        ({"vary": {"formats.weight": ["bitmod5"]}}, "did you mean bitmod"),
        ({"vary": [1]}, "not a mapping"),
        ({"vary": {f"k{i}": {"from": 1, "to": 1e6, "count": 1000} for i in range(4)}}, "too many"),
        ({"where": "area_mm2 <"}, "got 'the end'"),
        ({"where": 3}, "expected text"),
        ({"accuracy": {"window": 3}}, "windows and group_size"),
    ],
)
def test_every_mistake_is_one_line(change: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load_space({**BASE, **change})
    assert "\n" not in str(caught.value)


@given(start=st.integers(1, 1000), step=st.integers(1, 50), steps=st.integers(0, 200))
def test_a_range_of_steps_is_pythons(start: int, step: int, steps: int) -> None:
    stop = start + step * steps
    values = axis_of("k", {"from": start, "to": stop, "step": step}, "k").values
    assert list(values) == list(range(start, stop + 1, step))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a < 3", [0, 1]),
        ("1 < a <= 3", [1, 2]),
        ("a == 1 or a > 3", [0, 3]),
        ("not (a == 1 or b.c == 'x')", [1, 3]),
        ("b.c != 'x' and a >= 2e0", [1, 3]),
        ("a < 4 and a > 1 or a == 1", [0, 1, 2]),
    ],
)
def test_constraints(text: str, kept: list[int]) -> None:
    columns = {"a": np.array([1, 2, 3, 4]), "b.c": np.array(["x", "y", "x", "z"])}
    assert np.flatnonzero(parse_where(text).allows(columns)).tolist() == kept


@pytest.mark.parametrize(
    "text",
    ["a", "a <", "a < 3)", "(a < 3", "a = 3", "__import__('os')", "a < 3 4", "not", "", "a < b[0]",
     "(" * 60 + "a < 1" + ")" * 60],
)  # fmt: skip
def test_what_is_no_constraint(text: str) -> None:
    with pytest.raises(SpecError):
        parse_where(text)


def test_unknown_and_unlike_columns() -> None:
    columns = {"area_mm2": np.array([1.0]), "bound": np.array(["memory"])}
    with pytest.raises(SpecError, match="did you mean area_mm2"):
        parse_where("area_mm < 3").allows(columns)
    with pytest.raises(SpecError, match="by order"):
        parse_where("bound < 3").allows(columns)
