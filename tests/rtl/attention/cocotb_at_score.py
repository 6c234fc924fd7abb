"""plait_at_score: scores, their references and what these change by, with bubbles and two jobs."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from harness import as_signed, packed, parameter, play, start

from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT

DOT_BITS = parameter("DotBits", 30)
LATENCY, TOKENS = 3, 60


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], unified=[-1, 0], shift=[32, 50])
async def equals_the_golden_model(dut, idle: float, unified: int, shift: int) -> None:
    rng, pause = np.random.default_rng(3), random.Random(4)
    reach = 1 << (DOT_BITS - 1)
    dots = np.rint(reach * rng.uniform(-1, 1, TOKENS) ** 5).astype(np.int64)
    dots[[5, 40]] = -reach, reach - 1
    scales = np.exp2(rng.uniform(-16, 8, TOKENS)).astype(np.float16)
    # Subnormal ones of large products: with the small shift something is left of them.
    dots[[10, 20, 30]], scales[[10, 20, 30]] = reach - 5, np.exp2([-15.0, -17.0, -24.0])
    scores = unit.score(dots, scales, shift)
    ceilings = unit.ceiling(scores)
    firsts = [token in (0, TOKENS // 2) for token in range(TOKENS)]
    top = int(ceilings.max())
    expected, reference, largest = [], 0, 0
    for score, ceiling, first in zip(scores.tolist(), ceilings.tolist(), firsts, strict=True):
        largest = ceiling if first else max(largest, ceiling)
        before, reference = reference, top if unified else largest
        change = 0 if first or unified else min(reference - before, 63)
        difference = score - (reference << DEFAULT.score_fraction_bits)
        expected.append((int(first), difference, change))
    rows, places = [], []
    for token in range(TOKENS):
        while idle and pause.random() < idle:
            rows.append((0, pause.getrandbits(1), 5, 0))
        places.append(len(rows))
        bits = int(scales[token : token + 1].view(np.uint16)[0])
        rows.append((1, int(firsts[token]), packed([dots[token]], DOT_BITS), bits))
    rows.append((0, 0, 0, 0))
    names = ("valid_i", "first_i", "dot_i", "scale_i")
    dut.is_unified_i.value = int(bool(unified))
    dut.unified_i.value = packed([top], DEFAULT.reference_bits)
    dut.score_shift_i.value = shift
    await start(dut)
    driven = {
        name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    outputs = ["valid_o", "first_o", "difference_o", "change_o", "reference_o", "largest_o"]
    seen = await play(dut, driven, outputs, LATENCY + 1)
    at = [cycle for cycle, valid in enumerate(seen["valid_o"]) if valid]
    assert at == [place + LATENCY for place in places]
    width = DEFAULT.score_bits + 1
    found = [
        (seen["first_o"][c], as_signed(seen["difference_o"][c], width), seen["change_o"][c])
        for c in at
    ]
    assert found == expected
    ends = [as_signed(seen[name][-1], DEFAULT.reference_bits) for name in outputs[4:]]
    assert ends == [reference, largest]
