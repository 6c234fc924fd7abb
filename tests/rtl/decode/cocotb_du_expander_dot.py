"""plait_du_expander_dot: whole rows of dual grained weights times INT8 activations, exactly."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb_du_expander import every_group
from du_case import given, marks, offer, quiet
from harness import as_signed, packed, parameter, pauses, receive, send, start

from plait.models.formats import unpack_codes
from plait.models.golden.decode_units import beats, expanded_sums, expanded_weights

WIDTH, BITS = parameter("WeightsPerCycle", 16), parameter("AccumulatorBits", 32)
LATENCY = 4


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int], np.ndarray]:
    """Codes as stored, zeros, scales, shape, activations [1, inputs]."""
    if arrays := given():
        shape = tuple(arrays["shape"].tolist())
        return arrays["codes"], arrays["zeros"], arrays["scales"], shape, arrays["activations"]
    stored, zeros, scales, shape = every_group()
    activations = np.random.default_rng(5).integers(-128, 128, (1, shape[1]))
    return stored, zeros, scales, shape, activations


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    stored, zeros, scales, shape, activations = case()
    weights = expanded_weights(stored, zeros, scales, shape)
    expected = expanded_sums(weights, activations, BITS).reshape(-1).tolist()
    codes = beats(unpack_codes(stored, weights.size, 4).reshape(shape), WIDTH)
    steps = codes.shape[1]
    group_ends = marks(zeros.size, steps // zeros.shape[1])
    offered = [
        {"code_data_i": packed(lanes, 4), "code_last_i": mark}
        for lanes, mark in zip(codes.reshape(-1, WIDTH), group_ends, strict=True)
    ]
    pairs = zip(zeros.reshape(-1), scales.reshape(-1), strict=True)
    groups = [packed((zero, scale), 8) for zero, scale in pairs]
    inputs = [
        {"activation_data_i": packed(lanes, 8), "activation_last_i": step == steps - 1}
        for _ in range(shape[0])
        for step, lanes in enumerate(beats(activations, WIDTH)[0])
    ]
    quiet(dut, "code_valid_i", "group_valid_i", "activation_valid_i", "out_ready_i")
    await start(dut)
    cocotb.start_soon(offer(dut, "code", offered, pauses(idle, 2)))
    cocotb.start_soon(send(dut, "group", groups, pauses(idle, 3)))
    cocotb.start_soon(offer(dut, "activation", inputs, pauses(idle, 4)))
    cycles: list[int] = []
    found = await receive(dut, "out", len(expected), pauses(stall, 5), cycles)
    assert [as_signed(value, BITS) for value in found] == expected
    if not idle and not stall:
        assert cycles == [steps * (row + 1) - 1 + LATENCY for row in range(shape[0])]
