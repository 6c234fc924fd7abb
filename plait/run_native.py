"""The native run of every co-simulation: a simulator, a memory image, what the machine answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.errors import PlaitError
from plait.files import refuse_unwritable
from plait.hwgen import native
from plait.hwgen.design import Design
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES

__all__ = ["run_native"]

_SLACK_CYCLES = 10_000  # beyond twice the prediction: a wrong one shall be measured, not a hang


def run_native(
    design: Design,
    blocks: Mapping[int, NDArray[np.uint8]],
    *,
    results_at: int,
    results_words: int,
    predicted: int,
    latency: int = MEMORY_LATENCY_CYCLES,
    stall: float = 0.0,
    seed: int = 0,
    trace: str | Path | None = None,
) -> native.Run:
    """Build a design's simulator, unless it is there, and run it on a memory image.

    Args:
        blocks: of the image, {address: uint8 [words, port bytes]}.
        results_at, results_words: the region to give back.
        predicted: cycles; a run of more than twice as many, and some, is a hang.
        latency: of the memory, cycles.
        stall, seed: of the memory's stalls.
        trace: file that gets the waveform (VCD).

    Raises:
        PlaitError: the trace cannot be written, or the machine raised an error flag.
        ToolError: no simulator, or a hang.
    """
    if trace is not None:
        refuse_unwritable(trace)  # now, not after minutes of building
    run = native.run(
        native.build(design, trace=trace is not None),
        design,
        blocks,
        results_at=results_at,
        results_words=results_words,
        cycle_limit=2 * predicted + _SLACK_CYCLES,
        latency_cycles=latency,
        stall=stall,
        seed=seed,
        trace=None if trace is None else Path(trace),
    )
    raised = [name for bit, name in enumerate(design.errors) if run.error_flags >> bit & 1]
    if raised:
        raise PlaitError(f"the machine raised {raised[0]}", where=design.machine)
    return run
