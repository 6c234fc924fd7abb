"""Benches of modules with one stream in and one out: order, and cycles."""

from __future__ import annotations

import os
import random

import cocotb
from harness import pauses, receive, send, start

CAPACITY = int(os.environ["CAPACITY"])  # items held while nothing leaves


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def order_is_kept(dut, idle: float, stall: float) -> None:
    width = len(dut.in_data_i)
    rng = random.Random(1)
    items = [0, (1 << width) - 1, *(rng.getrandbits(width) for _ in range(400))]
    dut.in_valid_i.value = 0
    dut.out_ready_i.value = 0
    await start(dut)
    cocotb.start_soon(send(dut, "in", items, pauses(idle, 2)))
    cycles: list[int] = []
    assert await receive(dut, "out", len(items), pauses(stall, 3), cycles) == items
    if not idle and not stall and CAPACITY > 1:
        assert cycles == list(range(1, 1 + len(items)))  # latency 1, one item a cycle


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def fills_up_to_its_capacity(dut) -> None:
    from cocotb.triggers import ReadOnly, RisingEdge

    dut.in_valid_i.value = 1
    dut.in_data_i.value = 1
    dut.out_ready_i.value = 0
    await start(dut)
    taken = 0
    for _ in range(CAPACITY + 5):
        await ReadOnly()
        taken += int(dut.in_ready_o.value)
        await RisingEdge(dut.clk_i)
    assert taken == CAPACITY
    await ReadOnly()
    if hasattr(dut, "count_o"):
        assert dut.count_o.value == CAPACITY
