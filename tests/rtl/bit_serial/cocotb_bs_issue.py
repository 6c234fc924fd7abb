"""plait_bs_issue: all terms in order, each as soon as its three conditions hold."""

from __future__ import annotations

import random
from itertools import product

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, start

SCALE_BITS = parameter("ScaleBits", 8)
# terms, groups, steps of a group, steps of the last group, output tiles
TILES = [
    *((1, 1, 1, 1, 1), (1, 3, 1, 1, 2), (2, 2, 5, 1, 2), (4, 1, 3, 3, 3), (3, 4, 9, 2, 1)),
    (2, 3, 32, 32, 2),
]
MEMORY, DEQUANTISER, OUTPUT = 4, 5, 6  # cause_e


def expected_terms(tiles: tuple[int, ...]) -> list[tuple[int, ...]]:
    """(term, group first, group last, tile first, tile last) of every term in order."""
    terms, groups, steps, last_steps, output_tiles = tiles
    order = []
    for _, group in product(range(output_tiles), range(groups)):
        count = last_steps if group == groups - 1 else steps
        for step, term in product(range(count), range(terms)):
            order.append((
                term,
                step == 0 and term == 0,
                step == count - 1 and term == terms - 1,
                group == 0,
                group == groups - 1,
            ))  # fmt: skip
    return order


async def run(dut, tiles: tuple[int, ...], idle: float, drain: int) -> None:
    """One token tile against a model of the three conditions, cycle by cycle."""
    terms, groups, steps, last_steps, output_tiles = tiles
    for name, value in zip(
        ("last_term_i", "groups_i", "steps_per_group_i", "last_group_steps_i", "output_tiles_i"),
        (terms - 1, groups, steps, last_steps, output_tiles),
        strict=True,
    ):
        getattr(dut, name).value = value
    dut.start_i.value = 1
    await RisingEdge(dut.clk_i)
    dut.start_i.value = 0
    rng = random.Random(5)
    order = expected_terms(tiles)
    issued: list[tuple[int, int]] = []  # cycle, index
    seen: list[tuple[int, ...]] = []
    cycle = index = 0
    group_end, busy_until = -SCALE_BITS, -1
    while len(seen) < len(order):
        available = rng.random() >= idle
        dut.step_available_i.value = int(available)
        # A tile issued in one cycle is reported drained `drain` cycles later.
        dut.tile_drained_i.value = int(cycle == busy_until)
        await ReadOnly()
        if index < len(order):
            term, _, is_group_end, _, is_last_group = order[index]
            waits = {
                MEMORY: term == 0 and not available,
                DEQUANTISER: is_group_end and cycle < group_end + SCALE_BITS,
                OUTPUT: is_group_end and is_last_group and cycle <= busy_until,
            }
            cause = next((name for name, is_waiting in waits.items() if is_waiting), None)
            assert dut.issue_o.value == (cause is None)
            assert dut.is_filling_o.value == (index == 0)
            assert dut.step_read_o.value == (cause is None and term == 0)
            if cause is not None:
                assert dut.stall_cause_o.value.to_unsigned() == cause
            else:
                issued.append((cycle, index))
                if is_group_end:
                    group_end = cycle
                    if is_last_group:
                        busy_until = cycle + drain
                assert dut.finished_o.value == (index == len(order) - 1)
                index += 1
        else:
            assert not dut.issue_o.value
        if dut.array_term_valid_o.value:
            marks = ("group_first", "group_last", "tile_first", "tile_last")
            seen.append((
                dut.array_term_index_o.value.to_unsigned(),
                *(int(getattr(dut, f"array_{mark}_o").value) for mark in marks),
            ))  # fmt: skip
            assert issued[len(seen) - 1][0] + 2 == cycle
        await RisingEdge(dut.clk_i)
        cycle += 1
    assert seen == [tuple(map(int, place)) for place in order]
    while cycle <= busy_until:
        dut.tile_drained_i.value = int(cycle == busy_until)
        await RisingEdge(dut.clk_i)
        cycle += 1
    dut.tile_drained_i.value = 0
    for _ in range(SCALE_BITS):
        await RisingEdge(dut.clk_i)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], drain=[3, 40])
async def terms_come_in_order_and_in_time(dut, idle: float, drain: int) -> None:
    for name in ("start_i", "step_available_i", "tile_drained_i"):
        getattr(dut, name).value = 0
    await start(dut)
    await RisingEdge(dut.clk_i)
    for tiles in TILES:
        await run(dut, tiles, idle, drain)
