"""plait_sd_special: every operation, values of the golden unit, cycles of its header."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge
from harness import packed, start, unpacked

from plait.hwgen.sparse_dsp.constants import encode_constants
from plait.models.golden.special_unit import BLOCK, UNIT_OPERATIONS, Constants, misc
from plait.sim.compiler.cycles import misc_cycles
from plait.sim.compiler.instruction import MiscOperation

WIDTH, ENTRIES, CONSTANTS_AT = 16, 4096, 77
NUMBERS = {name: MiscOperation[name.upper()] for name in UNIT_OPERATIONS}


async def buffers(dut, entries: dict[int, int], constants: dict[int, int]) -> None:
    """Answer reads a cycle later, take writes."""
    while True:
        await ReadOnly()
        answers = {}
        if dut.constants_enable_o.value:
            answers["constants_i"] = constants[dut.constants_address_o.value.to_unsigned()]
        if dut.read_enable_o.value:
            for side in ("left", "right"):
                address = getattr(dut, f"{side}_address_o").value.to_unsigned()
                answers[f"{side}_i"] = entries.get(address, 0)
        if dut.write_enable_o.value:
            address = dut.write_address_o.value.to_unsigned()
            entries[address] = dut.write_data_o.value.to_unsigned()
        await RisingEdge(dut.clk_i)
        for name, value in answers.items():
            getattr(dut, name).value = value


async def run(dut, entries, store, operation, left, right, constants, at) -> list[int]:
    """One instruction; give its results."""
    blocks = len(left) // BLOCK
    for place, values in ((at[0], left), (at[1], right)):
        for block in range(blocks):
            part = values[BLOCK * block : BLOCK * (block + 1)]
            entries[(place + block) % ENTRIES] = packed(part, WIDTH)
    store[CONSTANTS_AT] = encode_constants(constants)
    dut.operation_i.value = NUMBERS[operation]
    dut.k_blocks_i.value = blocks
    dut.left_address_i.value = at[0]
    dut.right_address_i.value = at[1]
    dut.out_address_i.value = at[2]
    dut.constants_address_i.value = CONSTANTS_AT
    dut.start_i.value = 1
    cycles = 0
    while True:
        await ReadOnly()
        cycles += 1
        if dut.done_o.value:
            break
        assert cycles < 1000, "hangs"
        await RisingEdge(dut.clk_i)
        dut.start_i.value = 0
    await RisingEdge(dut.clk_i)
    assert cycles == misc_cycles(NUMBERS[operation], blocks), operation
    words = [entries[(at[2] + block) % ENTRIES] for block in range(blocks)]
    return [value for word in words for value in unpacked(word, WIDTH, BLOCK, signed=True)]


async def begin(dut) -> tuple[dict[int, int], dict[int, int]]:
    dut.start_i.value = 0
    await start(dut)
    entries: dict[int, int] = {}
    store: dict[int, int] = {}
    cocotb.start_soon(buffers(dut, entries, store))
    await RisingEdge(dut.clk_i)
    return entries, store


def draw(rng: random.Random, operation: str) -> Constants:
    """Constants under which results neither all vanish nor all saturate."""
    output_shift = {
        "add": 17, "mul": 30, "silu": 32, "gelu": 32, "rms_norm": rng.randint(28, 36), "softmax": 0,
    }[operation]  # fmt: skip
    return Constants(
        multiplier_a=rng.randint(1, 65535),
        multiplier_b=rng.randint(1, 65535),
        input_shift=rng.randint(4, 20),
        output_shift=max(0, output_shift + rng.randint(-3, 3)),
        is_int8=rng.random() < 0.5,
        last_lanes=rng.randint(1, BLOCK),
        fraction=rng.choice([7, 15]),
        epsilon=rng.choice([0, 1, rng.randrange(1 << 32)]),
    )


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(operation=list(UNIT_OPERATIONS))
async def values_and_cycles_are_the_golden_ones(dut, operation: str) -> None:
    entries, store = await begin(dut)
    rng = random.Random(operation)
    corners = [-32768, 32767, -32767, 0, 1, -1, 127, -128]
    for case in range(40):
        blocks = 1 + case % 7
        constants = draw(rng, operation)
        spread = rng.choice([32767, 127, 20])
        pick = lambda: rng.choice(corners) if case % 3 == 0 else rng.randint(-spread, spread)  # noqa: B023, E731
        left = [pick() for _ in range(BLOCK * blocks)]
        right = [pick() for _ in range(BLOCK * blocks)]
        at = [rng.randrange(1000), 1000 + rng.randrange(1000), 2000 + rng.randrange(2000)]
        found = await run(dut, entries, store, operation, left, right, constants, at)
        wanted = misc(operation, np.array(left), np.array(right), constants).tolist()
        assert found == wanted, f"case {case}: {constants}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def exact_ties_and_every_shift(dut) -> None:
    entries, store = await begin(dut)
    for shift in range(64):
        left = [*range(-8, 8)]
        constants = Constants(output_shift=shift, multiplier_a=1, multiplier_b=1 + (shift & 1))
        at = [0, 100, 200]
        found = await run(dut, entries, store, "add", left, left, constants, at)
        assert found == misc("add", left, left, constants).tolist(), shift


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def sums_of_nothing_and_of_the_largest(dut) -> None:
    entries, store = await begin(dut)
    for left in ([0] * 16, [-32768] * 48, [1] + [0] * 15):
        for operation in ("rms_norm", "softmax"):
            constants = Constants(output_shift=31, input_shift=3)
            right = [32767] * len(left)
            found = await run(dut, entries, store, operation, left, right, constants, [0, 50, 100])
            assert found == misc(operation, left, right, constants).tolist()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def an_unknown_operation_is_reported(dut) -> None:
    await begin(dut)
    for operation in range(16):
        dut.operation_i.value = operation
        await ReadOnly()
        assert not dut.is_unknown_o.value
        await RisingEdge(dut.clk_i)
