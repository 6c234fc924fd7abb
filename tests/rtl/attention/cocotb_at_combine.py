"""plait_at_combine: items of two partial results, whichever comes first."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import packed, parameter, pauses, receive, send, start

from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT, Partial

LANES, ITEMS = parameter("Lanes", 8), 60


def partial(seed: int) -> Partial:
    """Each item is a head: its reference, and LANES numbers."""
    rng = np.random.default_rng(seed)
    references = rng.choice([-300, -4, -3, 0, 2, 60, DEFAULT.lowest_reference], ITEMS)
    reach = 1 << (DEFAULT.accumulator_bits - 2)
    numbers = rng.integers(-reach, reach, (ITEMS, LANES))
    return Partial(references.astype(np.int64), np.zeros(ITEMS, np.int64), numbers)


def items(part: Partial) -> list[int]:
    width = DEFAULT.accumulator_bits
    return [
        packed(numbers, width) | packed([reference], DEFAULT.reference_bits) << LANES * width
        for reference, numbers in zip(part.reference, part.accumulators, strict=True)
    ]


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    left, right = partial(1), partial(2)
    for name in ("left_valid_i", "right_valid_i", "out_ready_i"):
        getattr(dut, name).value = 0
    await start(dut)
    cocotb.start_soon(send(dut, "left", items(left), pauses(idle, 3)))
    cocotb.start_soon(send(dut, "right", items(right), pauses(idle, 4)))
    cycles: list[int] = []
    found = await receive(dut, "out", ITEMS, pauses(stall, 5), cycles)
    assert found == items(unit.combine(left, right))
    if not idle and not stall:
        assert cycles == list(range(cycles[0], cycles[0] + ITEMS))
