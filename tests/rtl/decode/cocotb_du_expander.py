"""plait_du_expander: INT8 weights of dual grained codes equal the golden ones, a beat a cycle."""

from __future__ import annotations

import cocotb
import numpy as np
from du_case import given, marks, offer, quiet
from harness import packed, parameter, pauses, receive, send, start, unpacked

from plait.models.formats import pack_codes, unpack_codes
from plait.models.golden.decode_units import beats, expanded_weights
from plait.sim.families.decode_cycles import EXPANDER_LATENCY, expander_cycles

WIDTH = parameter("WeightsPerCycle", 16)


def every_group() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Codes as stored, zeros, scales, shape: all scales, zeros to both ends, all codes that fit."""
    rng = np.random.default_rng(1)
    scales = np.arange(256, dtype=np.int64).reshape(-1, 4)
    zeros = rng.integers(-2, 18, scales.shape)
    zeros[0], zeros[-1] = (-128, -100, 127, 100), (-8, 0, 15, 16)  # of scales 0 to 3, and the last
    margin = 127 // np.maximum(scales, 1)
    low, high = np.maximum(zeros - margin, 0), np.minimum(zeros + margin, 15)
    # where no code fits, as with a zero beyond the codes, the scale is one that takes any
    fits = low <= high
    scales, low, high = (
        np.where(fits, part, new) for part, new in ((scales, 0), (low, 0), (high, 15))
    )
    size = 3 * WIDTH
    codes = rng.integers(low[..., np.newaxis], high[..., np.newaxis] + 1, (*scales.shape, size))
    codes[..., 0], codes[..., -1] = low, high
    shape = (scales.shape[0], scales.shape[1] * size)
    stored = pack_codes(codes.astype(np.uint8).reshape(shape), 4)
    return stored, zeros.astype(np.int8), scales.astype(np.uint8), shape


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """What the launcher gave, or `every_group`."""
    if arrays := given():
        shape = tuple(arrays["shape"].tolist())
        return arrays["codes"], arrays["zeros"], arrays["scales"], shape
    return every_group()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    stored, zeros, scales, shape = case()
    weights = beats(expanded_weights(stored, zeros, scales, shape), WIDTH).reshape(-1, WIDTH)
    codes = beats(unpack_codes(stored, shape[0] * shape[1], 4).reshape(shape), WIDTH)
    steps = codes.shape[1] // zeros.shape[1]
    last = marks(zeros.size, steps)
    offered = [
        {"code_data_i": packed(lanes, 4), "code_last_i": mark}
        for lanes, mark in zip(codes.reshape(-1, WIDTH), last, strict=True)
    ]
    pairs = zip(zeros.reshape(-1), scales.reshape(-1), strict=True)
    groups = [packed((zero, scale), 8) for zero, scale in pairs]
    quiet(dut, "code_valid_i", "group_valid_i", "out_ready_i")
    await start(dut)
    cocotb.start_soon(offer(dut, "code", offered, pauses(idle, 2)))
    cocotb.start_soon(send(dut, "group", groups, pauses(idle, 3)))
    cycles: list[int] = []
    found = await receive(dut, "out", len(weights), pauses(stall, 4), cycles)
    assert [unpacked(beat, 8, WIDTH, signed=True) for beat in found] == weights.tolist()
    if not idle and not stall:
        assert cycles == [EXPANDER_LATENCY + number for number in range(len(weights))]
        assert cycles[-1] + 1 == expander_cycles(*shape, WIDTH)
