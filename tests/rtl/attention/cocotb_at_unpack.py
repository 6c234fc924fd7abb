"""plait_at_unpack: keys and values with their scales, parts one after another, streams stalling."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import packed, parameter, pauses, receive, send, start

PORT_BITS, VECTOR_WORDS = parameter("PortBits", 256), parameter("VectorWords", 2)
SCALES = PORT_BITS // 32
PARTS = [(0, SCALES), (SCALES - 1, 1), (1, SCALES - 1), (0, 1), (SCALES // 2, SCALES // 2)]


def stream() -> tuple[list[int], list[int], list[int], list[int]]:
    """Parts, words, and the keys and values that are in them."""
    rng = np.random.default_rng(1)
    parts, words, keys, values = [], [], [], []
    for slot, tokens in PARTS:
        parts.append(slot << SCALES.bit_length() | tokens)
        halves = rng.integers(0, 1 << 16, 2 * SCALES).tolist()
        words.append(packed(halves, 16))
        for token in range(tokens):
            for kind, found in enumerate((keys, values)):
                vector = rng.integers(0, 256, VECTOR_WORDS * PORT_BITS // 8)
                bits = packed(vector.tolist(), 8)
                words += [
                    bits >> word * PORT_BITS & (1 << PORT_BITS) - 1 for word in range(VECTOR_WORDS)
                ]
                scale = halves[2 * (slot + token) + kind]
                found.append(scale << VECTOR_WORDS * PORT_BITS | bits)
    return parts, words, keys, values


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_what_was_laid_out(dut, idle: float, stall: float) -> None:
    parts, words, keys, values = stream()
    for name in ("part_valid_i", "word_valid_i", "key_ready_i", "value_ready_i"):
        getattr(dut, name).value = 0
    await start(dut)
    cocotb.start_soon(send(dut, "part", parts, pauses(idle, 3)))
    cocotb.start_soon(send(dut, "word", words, pauses(idle, 4)))
    found_keys = cocotb.start_soon(receive(dut, "key", len(keys), pauses(stall, 5)))
    cycles: list[int] = []
    assert await receive(dut, "value", len(values), pauses(stall, 6), cycles) == values
    assert await found_keys == keys
    if not idle and not stall:  # a word a cycle, the last of them a value's
        assert cycles[-1] - cycles[0] == len(words) - 1 - 2 * VECTOR_WORDS
