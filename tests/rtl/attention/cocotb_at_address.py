"""plait_at_address: jobs of every part of every segment, in order; nothing of other tokens."""

from __future__ import annotations

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge, Timer
from harness import parameter, pauses, start

SCALES, TOKEN_WORDS = parameter("ScalesPerWord", 16), parameter("TokenWords", 2)
SEGMENTS = [(0, 1), (5, 40), (SCALES, SCALES), (3 * SCALES - 1, 2), (900, 7)]
SCALE_ADDRESS, CACHE_ADDRESS = 1000, 5000


def expected() -> tuple[list[tuple[int, int]], list[int]]:
    jobs, parts = [], []
    for first, count in SEGMENTS:
        at, end = first, first + count
        while at < end:
            tokens = min(end - at, SCALES - at % SCALES)
            jobs.append((SCALE_ADDRESS + at // SCALES, 1))
            jobs.append((CACHE_ADDRESS + at * TOKEN_WORDS, tokens * TOKEN_WORDS))
            parts.append(at % SCALES << SCALES.bit_length() | tokens)
            at += tokens
    return jobs, parts


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(job_stall=[0.0, 0.5], part_stall=[0.0, 0.5])
async def jobs_are_those_of_the_segments(dut, job_stall: float, part_stall: float) -> None:
    jobs, parts = expected()
    dut.start_i.value = 0
    dut.segments_i.value = len(SEGMENTS)
    dut.scale_address_i.value, dut.cache_address_i.value = SCALE_ADDRESS, CACHE_ADDRESS
    dut.segment_first_i.value, dut.segment_count_i.value = SEGMENTS[0]
    dut.job_ready_i.value, dut.part_ready_i.value = 0, 0
    await start(dut)
    dut.start_i.value = 1
    await RisingEdge(dut.clk_i)
    dut.start_i.value = 0
    found_jobs, found_parts, cycles = [], [], 0
    job_pause, part_pause = pauses(job_stall, 1), pauses(part_stall, 2)
    busy = True
    while busy:
        dut.job_ready_i.value, dut.part_ready_i.value = not next(job_pause), not next(part_pause)
        await Timer(1, unit="ns")  # the index has changed with the edge
        index = int(dut.segment_index_o.value)
        first, count = SEGMENTS[index] if index < len(SEGMENTS) else (0, 0)
        dut.segment_first_i.value, dut.segment_count_i.value = first, count
        await ReadOnly()
        busy = bool(dut.busy_o.value)
        if dut.job_valid_o.value and dut.job_ready_i.value:
            found_jobs.append((int(dut.job_address_o.value), int(dut.job_words_o.value)))
        if dut.part_valid_o.value and dut.part_ready_i.value:
            found_parts.append(int(dut.part_data_o.value))
        cycles += busy
        await RisingEdge(dut.clk_i)
    assert found_jobs == jobs
    assert found_parts == parts
    if not job_stall and not part_stall:
        assert cycles == len(jobs)
