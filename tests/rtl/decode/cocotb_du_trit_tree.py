"""plait_du_trit_tree: sums of a ternary matrix equal the golden model's, in the cycles stated."""

from __future__ import annotations

import cocotb
import numpy as np
from du_case import given, marks, offer, quiet
from harness import packed, parameter, pauses, receive, start, unpacked

from plait.models.formats import pack_codes, unpack_codes
from plait.models.golden.decode_units import beats, trit_sum_bits, trit_sums
from plait.sim.families.decode_cycles import TRIT_TREE_LATENCY, trit_tree_cycles

TREES = parameter("Trees", 1)
INPUTS, BITS = parameter("Inputs", 64), parameter("AccumulatorBits", 20)


def case() -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
    """Codes as stored, the shape, activations; extremes first, and as long as the width allows."""
    if arrays := given():
        return arrays["codes"], tuple(arrays["shape"].tolist()), arrays["activations"]
    rng = np.random.default_rng(1)
    longest = min(1 << (BITS - 8), 2 * INPUTS + 3)
    shape = (41, longest)
    codes = rng.choice(np.array([0, 1, 3], np.uint8), shape)
    codes[0], codes[1] = 1, 3
    activations = rng.integers(-127, 128, (1, longest))
    activations[0, : longest // 2] = 127
    assert trit_sum_bits(longest) <= BITS
    return pack_codes(codes, 2), shape, activations


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    stored, shape, activations = case()
    sums = trit_sums(stored, shape, activations, BITS)
    codes = unpack_codes(stored, shape[0] * shape[1], 2).reshape(shape)
    idle_trees = ((0, -shape[0] % TREES), (0, 0))  # of the last outputs: weights of zero
    trits = beats(np.pad(codes, idle_trees), INPUTS)
    steps = trits.shape[1]
    by_tree = trits.reshape(-1, TREES, steps, INPUTS).transpose(0, 2, 1, 3)
    offered = [
        {
            "in_trits_i": packed(lanes.reshape(-1).tolist(), 2),
            "in_activations_i": packed(token[step].tolist(), 8),
            "in_last_i": step == steps - 1,
        }
        for token in beats(activations, INPUTS)
        for outputs in by_tree
        for step, lanes in enumerate(outputs)
    ]
    count = len(activations) * len(by_tree)
    assert [beat["in_last_i"] for beat in offered] == marks(count, steps)
    quiet(dut, "in_valid_i", "out_ready_i")
    await start(dut)
    cocotb.start_soon(offer(dut, "in", offered, pauses(idle, 2)))
    cycles: list[int] = []
    words = await receive(dut, "out", count, pauses(stall, 3), cycles)
    found = np.array([unpacked(word, BITS, TREES, signed=True) for word in words])
    assert (found.reshape(len(activations), -1)[:, : shape[0]] == sums).all()
    if not idle and not stall:
        assert cycles == [steps * (number + 1) - 1 + TRIT_TREE_LATENCY for number in range(count)]
        assert cycles[-1] + 1 == trit_tree_cycles(len(by_tree), shape[1], INPUTS, len(activations))
