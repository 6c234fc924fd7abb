"""plait_du_codebook: vectors equal the golden model's; a beat takes what its conflicts cost."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from du_case import given, offer, quiet
from harness import packed, parameter, pauses, receive, start

from plait.models.golden.decode_units import beats, codebook_vectors, conflict_cycles
from plait.sim.families.decode_cycles import CODEBOOK_LATENCY

ENTRIES, LENGTH = parameter("Entries", 256), parameter("VectorLength", 4)
VALUE_BITS = parameter("ValueBits", 16)
BANKS, LOOKUPS = parameter("Banks", 4), parameter("LookupsPerCycle", 4)
INDEX_BITS = (ENTRIES - 1).bit_length()


def case() -> tuple[np.ndarray, np.ndarray]:
    """Codebook float16 [entries, v], indices [rows, columns]: all entries, conflicts of all sizes,
    then random ones; the last beat of a row is not full."""
    if arrays := given():
        return arrays["codebook"], arrays["indices"]
    rng = np.random.default_rng(1)
    book = rng.integers(0, 1 << 16, (ENTRIES, LENGTH)).astype(np.uint16).view(np.float16)
    columns = LOOKUPS * 6 + (LOOKUPS > 1)
    entries = np.resize(np.arange(ENTRIES), -(-ENTRIES // columns) * columns)
    same = np.repeat(rng.integers(0, ENTRIES, columns), columns).reshape(columns, columns)
    one_bank = rng.integers(0, max(1, ENTRIES // BANKS), (8, columns)) * BANKS
    drawn = rng.integers(0, ENTRIES, (60, columns))
    return book, np.concatenate([entries.reshape(-1, columns), same, one_bank, drawn])


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def equals_the_golden_model(dut, idle: float, stall: float) -> None:
    book, indices = case()
    lanes = beats(indices, LOOKUPS, fill=-1).reshape(-1, LOOKUPS)
    vectors = codebook_vectors(np.maximum(lanes, 0), book)
    vectors = np.where(lanes[..., np.newaxis] < 0, 0, vectors).reshape(len(lanes), -1)
    expected = [packed(beat.tolist(), VALUE_BITS) for beat in vectors]
    offered = [
        {"in_data_i": packed(beat, INDEX_BITS), "in_keep_i": packed(beat >= 0, 1)} for beat in lanes
    ]
    quiet(dut, "in_valid_i", "out_ready_i", "write_enable_i")
    await start(dut)
    for entry, words in enumerate(book.view(np.uint16).tolist()):
        dut.write_enable_i.value, dut.write_address_i.value = 1, entry
        dut.write_data_i.value = packed(words, VALUE_BITS)
        await RisingEdge(dut.clk_i)
    dut.write_enable_i.value = 0
    cocotb.start_soon(offer(dut, "in", offered, pauses(idle, 2)))
    cycles: list[int] = []
    assert await receive(dut, "out", len(expected), pauses(stall, 3), cycles) == expected
    if not idle and not stall:
        lookups = conflict_cycles(lanes, BANKS)
        assert cycles == (np.cumsum(lookups) - 1 + CODEBOOK_LATENCY).tolist()
