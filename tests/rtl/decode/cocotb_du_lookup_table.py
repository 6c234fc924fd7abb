"""plait_du_lookup_table: palettes loaded one after another; values equal the golden model's."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from du_case import given, offer, quiet
from harness import packed, parameter, pauses, receive, start, unpacked

from plait.models.formats import pack_codes, unpack_codes
from plait.models.golden.decode_units import beats, palette_values
from plait.sim.families.decode_cycles import LOOKUP_TABLE_LATENCY, lookup_table_cycles

ENTRIES, WIDTH = parameter("Entries", 16), parameter("WeightsPerCycle", 16)
VALUE_BITS = parameter("ValueBits", 16)
INDEX_BITS = max(1, (ENTRIES - 1).bit_length())


def case() -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Indices as stored, palettes, shape: two palettes, an odd number of columns."""
    if arrays := given():
        return arrays["codes"], arrays["luts"], tuple(arrays["shape"].tolist())
    rng = np.random.default_rng(1)
    shape = (12, 2 * ENTRIES + 2 * WIDTH + 1)
    codes = rng.integers(0, ENTRIES, shape)
    codes[:, :ENTRIES] = np.arange(ENTRIES)
    luts = rng.integers(0, 1 << 16, (2, ENTRIES)).astype(np.uint16).view(np.float16)
    return pack_codes(codes.astype(np.uint8), INDEX_BITS), luts, shape


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    stored, luts, shape = case()
    values = palette_values(stored, luts, INDEX_BITS, shape) & ((1 << VALUE_BITS) - 1)
    codes = unpack_codes(stored, shape[0] * shape[1], INDEX_BITS).reshape(shape)
    indices = beats(codes, WIDTH).reshape(len(luts), -1, WIDTH)
    words = luts.view(np.uint16) & ((1 << VALUE_BITS) - 1)

    async def drive() -> None:
        for part, lut in zip(indices, words, strict=True):
            for entry, word in enumerate(lut.tolist()):
                dut.write_enable_i.value, dut.write_address_i.value = 1, entry
                dut.write_data_i.value = word
                await RisingEdge(dut.clk_i)
            dut.write_enable_i.value = 0
            offered = [{"in_data_i": packed(lanes, INDEX_BITS)} for lanes in part]
            await offer(dut, "in", offered, pauses(idle, 2))

    quiet(dut, "in_valid_i", "out_ready_i", "write_enable_i")
    await start(dut)
    cocotb.start_soon(drive())
    cycles: list[int] = []
    count = indices.shape[0] * indices.shape[1]
    found = await receive(dut, "out", count, pauses(stall, 3), cycles)
    lanes = np.array([unpacked(beat, VALUE_BITS, WIDTH) for beat in found])
    assert (lanes.reshape(shape[0], -1)[:, : shape[1]] == values).all()
    if not idle and not stall:
        first = ENTRIES * (1 + np.arange(count) // indices.shape[1]) + np.arange(count)
        assert cycles == (first + LOOKUP_TABLE_LATENCY).tolist()
        assert cycles[-1] + 1 == lookup_table_cycles(*shape, WIDTH, ENTRIES, len(luts))
