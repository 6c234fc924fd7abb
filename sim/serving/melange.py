"""Melange (arXiv 2404.14527): how many devices of which kind serve a mix of sizes at least cost.

Requests are sorted into buckets by prompt and answer. A bucket's rate is cut into equal slices; a
slice goes to one kind of device and loads it by its rate over the largest rate that one such device
sustains for this bucket within the limits. The cheapest whole numbers of devices that bear the
loads are found by integer programming.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError

__all__ = ["Allocation", "allocate"]


@dataclass(frozen=True, slots=True)
class Allocation:
    """The cheapest devices.

    Attributes:
        cost: a unit of time, in the unit of the prices.
        counts: devices of each kind.
        share: [kinds, buckets] of each bucket's rate.
    """

    cost: float
    counts: tuple[int, ...]
    share: NDArray[np.float64]


def allocate(
    prices: ArrayLike,
    throughputs: ArrayLike,
    distribution: ArrayLike,
    rate_per_s: float,
    slices: int = 1,
) -> Allocation:
    """Choose devices.

    Args:
        prices: [kinds], of one device a unit of time.
        throughputs: [kinds, ...]: requests a second of one device by bucket; 0: it cannot serve it.
        distribution: [...]: share of each bucket in the requests, in the same shape.
        rate_per_s: requests a second in all.
        slices: pieces a bucket is cut into.

    >>> allocate([1.01, 3.67], [[[2, 1], [5, 2]], [[20, 20], [40, 20]]],
    ...          [[.2, .1], [.5, .2]], rate_per_s=30).counts
    (3, 1)
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    prices, rates, shares = _checked(prices, throughputs, distribution, rate_per_s, slices)
    kinds, buckets = rates.shape
    # A bucket's slices are alike: it is enough to know how many of them a kind takes.
    slice_rate = shares * rate_per_s / slices
    load = np.divide(slice_rate, rates, out=np.zeros_like(rates), where=rates > 0)
    wanted = np.where((shares > 0)[None] & (rates > 0), slices, 0)
    taken = np.concatenate([np.eye(buckets)] * kinds + [np.zeros((buckets, kinds))], axis=1)
    borne = np.zeros((kinds, kinds * buckets + kinds))
    for kind in range(kinds):
        borne[kind, kind * buckets : (kind + 1) * buckets] = load[kind]
        borne[kind, kinds * buckets + kind] = -1
    every = np.where(shares > 0, slices, 0)
    found = milp(
        np.concatenate([np.zeros(kinds * buckets), prices]),
        integrality=1,
        bounds=Bounds(0, np.concatenate([wanted.ravel(), np.full(kinds, np.inf)])),
        constraints=[LinearConstraint(taken, every, every), LinearConstraint(borne, -np.inf, 0)],
    )
    if not found.success:
        raise SpecError(f"no allocation was found: {found.message}", where="allocate")
    counts = np.round(found.x[kinds * buckets :]).astype(int)
    share = np.round(found.x[: kinds * buckets]).reshape(kinds, buckets) / slices
    return Allocation(float(prices @ counts), tuple(int(n) for n in counts), share)


def _checked(
    prices: ArrayLike,
    throughputs: ArrayLike,
    distribution: ArrayLike,
    rate_per_s: float,
    slices: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    prices, shares = np.asarray(prices, float).ravel(), np.asarray(distribution, float)
    rates = np.asarray(throughputs, float)
    if rates.shape != (len(prices), *shares.shape):
        raise SpecError(
            "shapes do not fit",
            where="throughputs",
            got=list(rates.shape),
            expected=f"{[len(prices), *shares.shape]}, a kind of device and then a bucket",
        )
    rates, shares = rates.reshape(len(prices), -1), shares.ravel()
    for name, values in (("prices", prices), ("throughputs", rates), ("distribution", shares)):
        if not np.isfinite(values).all() or (values < 0).any():
            raise SpecError("not a finite number of 0 or more", where=name)
    if not rate_per_s > 0 or slices < 1:
        raise SpecError("out of range", where="rate_per_s, slices", got=(rate_per_s, slices))
    lonely = (shares > 0) & ~(rates > 0).any(axis=0)
    if lonely.any():
        raise SpecError(
            "no kind of device serves a bucket",
            where=f"throughputs: bucket {int(np.argmax(lonely))}",
        )
    return prices, rates, shares
