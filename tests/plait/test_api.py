"""The front door: what it offers is what api.py has, and it takes names, paths and objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import plait
from plait import api
from plait.errors import PlaitError, SpecError


def test_the_door_offers_every_verb() -> None:
    assert {*api.__all__, "__version__"} == set(plait.__all__) == set(dir(plait))
    assert [name for name in api.__all__ if getattr(plait, name) is not getattr(api, name)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="simulat"):
        _ = plait.simulat


def test_names_paths_and_objects_are_alike(tmp_path: Path) -> None:
    preset = Path(plait.__file__).parent / "sim/spec/presets/bitmod-lossy.yaml"
    copy = tmp_path / "mine.yaml"
    copy.write_text(preset.read_text())
    graph, machine = plait.load_model("smollm2-135m"), plait.load_accelerator("bitmod-lossy")
    cycles = [
        plait.simulate(graph, machine).cycles,
        plait.simulate("smollm2-135m", "bitmod-lossy").cycles,
        plait.simulate("smollm2-135m", copy).cycles,
        plait.simulate("smollm2-135m", str(copy)).cycles,
    ]
    assert len(set(cycles)) == 1


def test_inputs_stay_as_they_are() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    before = weight.copy()
    plait.quantize(weight, "bitmod4", group_size=64)
    assert np.array_equal(weight, before)
    machine = plait.load_accelerator("bitmod-lossy")
    machine.with_(clock_hz=2e9)
    assert machine.clock_hz == 1e9


def test_formats_by_hand_win_over_the_machine() -> None:
    small = plait.simulate("smollm2-135m", "bitmod-lossy", formats={"weight": "bitmod3"})
    large = plait.simulate("smollm2-135m", "bitmod-lossy", formats="w8a16kv16")
    assert small.bytes < large.bytes


@pytest.mark.parametrize("group_size", [0, -1, 2.5, "rows"])
def test_a_bad_group_size_is_named(group_size: object) -> None:
    with pytest.raises(PlaitError, match="group"):
        plait.quantize(np.ones((2, 8), np.float32), "int4", group_size=group_size)


def test_a_text_is_no_accelerator() -> None:
    with pytest.raises(SpecError, match="unknown machine"):
        plait.load_accelerator("no such machine")
