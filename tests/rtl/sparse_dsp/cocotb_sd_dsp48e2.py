"""The DSP48E2 model: every multiplexer setting and register depth, against the golden block."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import RisingEdge
from harness import as_signed, parameter, play, start

from plait.models.golden.sparse_dsp_dsp48 import Registers, run

WIDTHS = {"a": 30, "b": 18, "c": 48, "d": 27, "pcin": 48}
DEPTHS = {"a": "Areg", "b": "Breg", "c": "Creg", "d": "Dreg", "ad": "Adreg", "m": "Mreg",
          "p": "Preg", "opmode": "Opmodereg"}  # fmt: skip
DEFAULTS = Registers()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def values(dut) -> None:
    rng = random.Random(3)
    depths = {name: parameter(key, getattr(DEFAULTS, name)) for name, key in DEPTHS.items()}
    count = 600
    inputs = {
        name: [rng.choice((0, 1, (1 << width) - 1, 1 << width - 1, (1 << width - 1) - 1,
                           rng.getrandbits(width))) for _ in range(count)]
        for name, width in WIDTHS.items()
    }  # fmt: skip
    feedback = (2, 4, 6, 7) if depths["p"] else ()  # P may not feed itself without a register
    inputs["inmode"] = [rng.randrange(32) for _ in range(count)]
    inputs["opmode"] = [
        rng.choice((0, 1, 2, 3) if depths["p"] else (0, 2, 3)) << 7
        | rng.choice((0, 1, 3, 5, *feedback)) << 4
        | rng.choice((0b0000, 0b0101, 0b1000, 0b1100, 0b0011))
        for _ in range(count)
    ]
    inputs["alumode"] = [rng.randrange(4) for _ in range(count)]
    for name in inputs:
        getattr(dut, f"{name}_i").value = 0
    await start(dut)
    await RisingEdge(dut.clk_i)
    seen = await play(dut, {f"{name}_i": values for name, values in inputs.items()},
                      ["p_o", "pcout_o"])  # fmt: skip
    registers = Registers(**depths)
    want = run(inputs, registers, is_ad=bool(parameter("PreAdder", 1)), rnd=5)
    settled = 5  # the golden block starts at 0, this one with 0 held in its inputs
    first = [as_signed(value, 48) for value in seen["p_o"]]
    assert first[settled:] == want[settled:]
    assert seen["pcout_o"] == seen["p_o"]
