"""plait_bs_transpose: every single bit, then random planes."""

from __future__ import annotations

import random

import cocotb
from harness import evaluate, packed, parameter

CODES, CODE_BITS = parameter("Codes", 32), parameter("CodeBits", 8)


def planes_of(codes: list[int]) -> int:
    planes = [packed([code >> b & 1 for code in codes], 1) for b in range(CODE_BITS)]
    return packed(planes, CODES)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def planes_become_codes(dut) -> None:
    rng = random.Random(1)
    single = [[(1 << b) * (c == at) for c in range(CODES)] for at in range(CODES)
              for b in range(CODE_BITS)]  # fmt: skip
    random_codes = [[rng.getrandbits(CODE_BITS) for _ in range(CODES)] for _ in range(200)]
    cases = [*single, *random_codes]
    seen = await evaluate(dut, {"planes_i": [planes_of(codes) for codes in cases]}, ["codes_o"])
    assert seen["codes_o"] == [packed(codes, CODE_BITS) for codes in cases]
