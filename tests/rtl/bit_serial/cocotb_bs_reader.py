"""plait_bs_reader: words of jobs, in order, without a gap while the memory keeps up."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from harness import parameter, pauses, receive, start
from port_memory import PortMemory

BURST_WORDS = parameter("BurstWords", 64)
WORDS_IN_FLIGHT = parameter("WordsInFlight", 256)


def jobs_and_memory(dut, seed: int) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """Jobs of one word, of whole bursts, of anything; every word of memory is different."""
    rng = random.Random(seed)
    lengths = [1, 1, 2, BURST_WORDS, BURST_WORDS + 1, 3 * BURST_WORDS - 1]
    lengths += [rng.randint(1, 4 * BURST_WORDS) for _ in range(6)]
    jobs, address = [], 5
    for length in lengths:
        jobs.append((address, length))
        address += length + rng.randint(0, 3)
    width = len(dut.mem_read_data_i)
    return jobs, {a: rng.getrandbits(width - 16) << 16 | a & 0xFFFF for a in range(address)}


async def offer(dut, jobs: list[tuple[int, int]], pause) -> None:
    for address, words in jobs:
        while next(pause):
            dut.job_valid_i.value = 0
            await RisingEdge(dut.clk_i)
        dut.job_valid_i.value = 1
        dut.job_address_i.value = address
        dut.job_words_i.value = words
        accepted = False
        while not accepted:
            await ReadOnly()
            accepted = bool(dut.job_ready_o.value)
            await RisingEdge(dut.clk_i)
    dut.job_valid_i.value = 0


async def begin(dut, memory: PortMemory) -> None:
    dut.job_valid_i.value = 0
    dut.word_ready_i.value = 0
    dut.mem_read_valid_i.value = 0
    dut.mem_read_request_ready_i.value = 0
    await start(dut)
    cocotb.start_soon(memory.run())


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], stall=[0.0, 0.5])
async def words_come_in_order(dut, idle: float, stall: float) -> None:
    jobs, words = jobs_and_memory(dut, 1)
    memory = PortMemory(dut, words)
    memory.restart(latency=3, threshold=round(idle * 2**32), seed=4)
    await begin(dut, memory)
    cocotb.start_soon(offer(dut, jobs, pauses(idle, 2)))
    expected = [words[address + i] for address, length in jobs for i in range(length)]
    assert await receive(dut, "word", len(expected), pauses(stall, 3)) == expected
    assert all(length <= BURST_WORDS for _, _, length in memory.requests)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(latency=[1, WORDS_IN_FLIGHT - 2 * BURST_WORDS])
async def a_fast_memory_leaves_no_gap(dut, latency: int) -> None:
    """The first word leaves 3 + latency cycles after its job is accepted, then one a cycle."""
    jobs, words = jobs_and_memory(dut, 5)
    jobs = [job for job in jobs if job[1] >= BURST_WORDS]
    memory = PortMemory(dut, words)
    await begin(dut, memory)
    memory.restart(latency=latency, threshold=0, seed=0)
    cocotb.start_soon(offer(dut, jobs, pauses(0, 0)))
    count = sum(length for _, length in jobs)
    cycles: list[int] = []
    await receive(dut, "word", count, pauses(0, 0), cycles)
    assert cycles == list(range(3 + latency, 3 + latency + count))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def no_more_is_requested_than_agreed(dut) -> None:
    memory = PortMemory(dut, dict.fromkeys(range(10 * WORDS_IN_FLIGHT), 0))
    await begin(dut, memory)
    cocotb.start_soon(offer(dut, [(0, 10 * WORDS_IN_FLIGHT)], pauses(0, 0)))
    for _ in range(5 * WORDS_IN_FLIGHT):
        await RisingEdge(dut.clk_i)
    # Nobody takes a word: two wait in the skid buffer, the rest in the memory.
    requested = sum(length for _, _, length in memory.requests)
    assert WORDS_IN_FLIGHT - BURST_WORDS < requested - 2 <= WORDS_IN_FLIGHT
