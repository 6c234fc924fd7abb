"""SRAM costs: exact at every table point, published buffers by rule, interpolation error stated."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import SpecError
from plait.sim.cost.sram import _interpolate, _table, bank_cost, buffer_cost, sram_points

QUANTITIES = ["read_pj", "write_pj", "area_mm2"]


def test_every_table_point_comes_back_exactly() -> None:
    for node, points in sram_points().groupby("node_nm"):
        cost = bank_cost(int(node), points["capacity_kib"] * 1024, points["width_bits"])
        np.testing.assert_array_equal(np.stack(cost, axis=1), points[QUANTITIES].to_numpy())


def test_shapes_are_broadcast() -> None:
    cost = bank_cost(28, [[8192], [65536]], [32, 48, 64])
    assert cost.read_pj.shape == (2, 3)
    assert cost.read_pj[1, 2] == 11.5993


def test_between_points_lies_between_values() -> None:
    low, middle, high = bank_cost(28, 65536, [72, 100, 128]).read_pj
    assert low < middle < high
    low, middle, high = bank_cost(22, [65536, 90000, 131072], 64).area_mm2
    assert low < middle < high


def test_outside_the_table() -> None:
    assert (np.stack(bank_cost(28, 65536, [1, 2, 4, 8])) > 0).all()
    wide, wider = bank_cost(28, 65536, [512, 1024]).read_pj
    assert wider == 2 * wide
    assert bank_cost(28, 8 << 20, 64).area_mm2 > bank_cost(28, 2 << 20, 64).area_mm2


def test_an_unknown_node() -> None:
    with pytest.raises(SpecError, match="expected 22 or 28"):
        bank_cost(7, 65536, 64)


def test_a_buffer_is_its_banks() -> None:
    bank, buffer = bank_cost(28, 65536, 64), buffer_cost(28, 8 * 65536, 8 * 64, 8, 32)
    assert buffer.read_pj == 8 * bank.read_pj
    assert buffer.area_mm2 == 8 * bank.area_mm2
    assert buffer.write_pj == bank.write_pj / 2


def leave_one_out(along: str) -> np.ndarray:
    """Relative error at every inner point, interpolated from its two neighbours: [points, 3]."""
    errors = []
    for node in (22, 28):
        points = sram_points()
        points = points[(points["node_nm"] == node) & points["access_ns"].notna()]
        for _, line in points.groupby("width_bits" if along == "capacity_kib" else "capacity_kib"):
            line = line.sort_values(along)
            x, y = line[along].to_numpy(float), line[QUANTITIES].to_numpy()
            if along == "capacity_kib":
                guess = np.sqrt(y[:-2] * y[2:])
            else:
                share = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))[:, None]
                guess = y[:-2] * (1 - share) + y[2:] * share
            errors.append(guess / y[1:-1] - 1)
    return np.abs(np.concatenate(errors))


@pytest.mark.parametrize(
    ("along", "mean"),
    [("width_bits", (0.089, 0.053, 0.073)), ("capacity_kib", (0.064, 0.068, 0.063))],
)
def test_stated_interpolation_error(along: str, mean: tuple[float, ...]) -> None:
    errors = leave_one_out(along)
    np.testing.assert_allclose(errors.mean(axis=0), mean, atol=0.001)
    assert errors.max() < 0.41


def test_capacities_of_the_table_are_powers_of_two() -> None:
    capacities, rows = _table(28)
    assert list(capacities) == list(range(2, 12))
    assert _interpolate(28, np.array([65536.0]), np.array([64.0])).shape == (3, 1)
    assert len(rows) == 10
