"""The arrays of a case that a launcher hands to a bench; and the drivers that the benches share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def given() -> dict[str, NDArray]:
    """Arrays of the file that CASE names, by name; none if there is no such case."""
    path = os.environ.get("CASE")
    if not path:
        return {}
    with np.load(path) as file:
        return dict(file)


def marks(rows: int, count: int) -> list[int]:
    """1 at the last of ``count`` beats, for each row."""
    return ([0] * (count - 1) + [1]) * rows


async def offer(dut, prefix: str, beats: Sequence[dict[str, int]], pause: Iterator[bool]) -> None:
    """Offer beats on the stream ``prefix``, each with the values of several ports."""
    from cocotb.triggers import ReadOnly, RisingEdge

    valid, ready = getattr(dut, f"{prefix}_valid_i"), getattr(dut, f"{prefix}_ready_o")
    for beat in beats:
        while next(pause):
            valid.value = 0
            await RisingEdge(dut.clk_i)
        valid.value = 1
        for port, value in beat.items():
            getattr(dut, port).value = value
        while True:
            await ReadOnly()
            accepted = bool(ready.value)
            await RisingEdge(dut.clk_i)
            if accepted:
                break
    valid.value = 0


def quiet(dut, *names: str) -> None:
    """Nothing is offered, nothing is taken."""
    for name in names:
        getattr(dut, name).value = 0
