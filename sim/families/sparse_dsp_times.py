"""Durations of instructions on a sparse DSP machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plait.sim.compiler.instruction import Path, Program
from plait.sim.spec.sparse_dsp import SparseDsp

__all__ = ["durations", "rates"]


def rates(machine: SparseDsp) -> NDArray[np.float64]:
    """Give work a second by `Path`: cycles for none, bytes for the others; of all cores.

    The published model times the program of one core and divides by what the cores do together.
    """
    memory = machine.memory
    same = memory.channel_bytes_per_s * memory.same_channel_efficiency
    # Zeros fill one entry of every channel of A in a cycle.
    zeros_bytes = machine.core.mm_rows * 16
    one = np.zeros(len(Path))
    one[Path.NONE] = machine.clock_hz
    one[Path.ONE_CHANNEL] = same
    one[Path.ALL_CHANNELS] = same * memory.channels
    one[Path.CROSS_CHANNEL] = memory.channel_bytes_per_s * memory.cross_channel_efficiency
    one[Path.ZERO_FILL] = machine.clock_hz * zeros_bytes
    return one * machine.cores.speed


def durations(program: Program, machine: SparseDsp) -> NDArray[np.float64]:
    """Give the seconds of every instruction [instructions]."""
    return program["work"] / rates(machine)[program["path"]]
