"""Fronts against the definition, and the search against the exhaustive front."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import plait
from plait.errors import SpecError
from plait.sim.sweep import front, search, sweep
from plait.sim.sweep.pareto import nondominated


@pytest.mark.slow
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 60), st.integers(2, 4)),
        elements=st.integers(0, 5).map(float),
    )
)
def test_nobody_on_the_front_is_beaten(points: np.ndarray) -> None:
    expected = [
        not any(np.all(other <= point) and np.any(other < point) for other in points)
        for point in points
    ]
    assert nondominated(points).tolist() == expected


def test_more_than_a_block() -> None:
    draw = np.random.default_rng(0)
    points = draw.random((5000, 2))
    kept = points[nondominated(points)]
    order = kept[np.argsort(kept[:, 0])]
    assert np.all(np.diff(order[:, 1]) < 0)
    best = np.minimum.accumulate(points[np.argsort(points[:, 0]), 1])
    assert len(np.unique(best)) == len(kept)


def test_directions_and_missing_numbers() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": [1.0, 5.0, 9.0], "name": ["x", "y", "z"]})
    assert front(frame, minimise=["a"], maximise=["b"])["name"].tolist() == ["x", "y"]
    with pytest.raises(SpecError, match="unknown column"):
        front(frame, minimise=["a", "c"])
    with pytest.raises(SpecError, match="two or more"):
        front(frame, minimise=["a"])
    with pytest.raises(SpecError, match="holds no numbers"):
        front(frame, minimise=["a", "name"])


@pytest.mark.slow
def test_search_finds_most_of_the_exhaustive_front() -> None:
    """Hypervolume of the found front over the exhaustive one: NSGA-II is no proof, so 98 %."""
    graph = plait.load_model("smollm2-135m")
    space = {
        "model": "x",
        "machine": "bitmod-lossy",
        "vary": {
            "array.decode.rows": {"from": 4, "to": 256, "step": 4},
            "array.decode.columns": [1, 2, 4, 8],
            "dram.port_bits_per_cycle": [64, 128, 256, 512],
        },
        "where": "area_mm2 < 6",
    }
    goals = ["seconds", "area_mm2"]
    whole = front(sweep(space, graph), goals)
    found = search(space, graph, minimise=goals, trials=512, seed=1)
    again = search(space, graph, minimise=goals, trials=512, seed=1)
    pd.testing.assert_frame_equal(found, again)
    corner = whole[goals].max().to_numpy() * 1.1
    best, reached = (hypervolume(f[goals].to_numpy(), corner) for f in (whole, found))
    assert 0.98 * best < reached <= best


def hypervolume(points: np.ndarray, corner: np.ndarray) -> float:
    inside = points[(points < corner).all(axis=1)]
    order = inside[np.argsort(inside[:, 0])]
    heights = corner[1] - np.minimum.accumulate(order[:, 1])
    widths = np.diff(np.append(order[:, 0], corner[0]))
    return float((heights * widths).sum())
