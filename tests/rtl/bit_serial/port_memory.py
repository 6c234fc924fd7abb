"""For the benches: their cases, and the memory behind the machine's port.

The twin of the memory is in hwgen/native/harness.cpp.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cocotb.simtime import get_sim_time
from cocotb.triggers import ReadOnly, RisingEdge

from plait.sim.families.memory_port import READ_CHANNEL, REQUEST_CHANNEL, WRITE_CHANNEL, stalled

CLOCK_NS = 10  # harness.start_clock


def load_cases() -> list[Any]:
    """What machine_cases.save wrote."""
    return pickle.loads(Path(os.environ["CASES"]).read_bytes())


class PortMemory:
    """Answers reads in order, `latency` cycles after their request, a word a cycle; takes writes.

    A stall is drawn for every cycle and channel: the request is not accepted, the next word does
    not become valid, the write is not accepted. A valid word stays until it is taken.
    """

    def __init__(self, dut, words: Mapping[int, int]) -> None:
        self.dut, self.words = dut, dict(words)
        self.latency, self.threshold, self.seed = 8, 0, 0
        self._start_ns = 0
        self.requests: list[tuple[int, int, int]] = []  # cycle, address, length
        self.writes: list[tuple[int, int]] = []  # address, word
        self._queue: deque[tuple[int, int]] = deque()  # address, first cycle
        self._is_valid = False

    def restart(self, latency: int, threshold: int, seed: int) -> None:
        """Begin cycle 0: the one that the next clock edge ends."""
        self.latency, self.threshold, self.seed = latency, threshold, seed
        self._start_ns = get_sim_time("ns")
        self.requests.clear()
        self.writes.clear()

    @property
    def cycle(self) -> int:
        """Cycles since the restart."""
        return round(get_sim_time("ns") - self._start_ns) // CLOCK_NS

    async def run(self) -> None:
        """Play the memory for ever; starts after a clock edge."""
        while True:
            self._drive()
            await ReadOnly()
            self._sample()
            await RisingEdge(self.dut.clk_i)

    def _stalled(self, channel: int) -> bool:
        return bool(stalled(self.cycle, channel, self.seed, self.threshold))

    def _drive(self) -> None:
        dut = self.dut
        if hasattr(dut, "mem_write_ready_i"):
            dut.mem_write_ready_i.value = not self._stalled(WRITE_CHANNEL)
        if not hasattr(dut, "mem_read_valid_i"):
            return
        dut.mem_read_request_ready_i.value = not self._stalled(REQUEST_CHANNEL)
        if not self._is_valid and self._queue:
            address, due = self._queue[0]
            if due <= self.cycle and not self._stalled(READ_CHANNEL):
                self._is_valid = True
                dut.mem_read_data_i.value = self.words[address]
        dut.mem_read_valid_i.value = self._is_valid

    def _sample(self) -> None:
        dut = self.dut
        if not dut.rst_ni.value:
            return
        has_writes = hasattr(dut, "mem_write_valid_o")
        if has_writes and dut.mem_write_valid_o.value and dut.mem_write_ready_i.value:
            address = dut.mem_write_address_o.value.to_unsigned()
            self.words[address] = dut.mem_write_data_o.value.to_unsigned()
            self.writes.append((address, self.words[address]))
        if not hasattr(dut, "mem_read_valid_i"):
            return
        if self._is_valid and dut.mem_read_ready_o.value:
            self._is_valid = False
            self._queue.popleft()
        if dut.mem_read_request_valid_o.value and dut.mem_read_request_ready_i.value:
            address = dut.mem_read_request_address_o.value.to_unsigned()
            length = dut.mem_read_request_length_o.value.to_unsigned()
            self.requests.append((self.cycle, address, length))
            self._queue.extend((address + i, self.cycle + self.latency) for i in range(length))
