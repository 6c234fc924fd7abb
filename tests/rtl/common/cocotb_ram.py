"""Bench of plait_ram_1r1w against a list."""

from __future__ import annotations

import random

import cocotb
from harness import parameter, play, start_clock

DEPTH, WIDTH = parameter("Depth", 16), parameter("Width", 8)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reads_what_was_written(dut) -> None:
    rng = random.Random(1)
    count = 600 + DEPTH
    write = [
        (1, i, rng.getrandbits(WIDTH))
        if i < DEPTH
        else (rng.getrandbits(1), rng.randrange(DEPTH), rng.getrandbits(WIDTH))
        for i in range(count)
    ]
    read = [(int(i >= DEPTH and rng.random() < 0.7), rng.randrange(DEPTH)) for i in range(count)]
    words, held, expected = [0] * DEPTH, None, []
    for (enable, address, data), (read_enable, read_address) in zip(write, read, strict=True):
        expected.append(held)
        if read_enable:
            held = words[read_address]  # the old word, also where this cycle writes it
        if enable:
            words[address] = data
    await start_clock(dut)
    seen = await play(
        dut,
        {
            "write_enable_i": [w[0] for w in write],
            "write_address_i": [w[1] for w in write],
            "write_data_i": [w[2] for w in write],
            "read_enable_i": [r[0] for r in read],
            "read_address_i": [r[1] for r in read],
        },
        ["read_data_o"],
    )
    pairs = zip(expected, seen["read_data_o"], strict=True)
    assert [got for want, got in pairs if want is not None] == [
        want for want in expected if want is not None
    ]
