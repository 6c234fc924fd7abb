"""Three counts of the same cycles: closed form, recurrence, the counters of the Verilog."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plait.cosimulation import Cosimulation, cosimulate
from plait.hwgen.bit_serial.parameters import core_parameters
from plait.models import formats
from plait.sim.families.bit_serial_cycles import closed_form
from plait.sim.families.bit_serial_schedule import (
    CAUSES,
    Machine,
    matmul_counts,
    schedule,
)
from plait.sim.families.bit_serial_tiles import Matmul
from plait.sim.families.memory_port import Memory, threshold_of
from plait.sim.spec import load_accelerator

pytestmark = pytest.mark.rtl

SHAPES = 52
STALL = 0.3


def machine_of(name: str) -> Machine:
    parameters = core_parameters(load_accelerator(name), "decode")
    names = ("Rows", "Columns", "Lanes", "ScaleBits", "PortBits")
    buffers = ("WeightBufferSteps", "ScaleBufferGroups")
    return Machine(*(parameters[key] for key in (*names, *buffers)))


def random_shape(rng: np.random.Generator, machine: Machine) -> dict[str, Any]:
    return {
        "name": str(rng.choice(["bitmod3", "bitmod4", "int6", "int8"])),
        "outputs": int(rng.integers(1, 4 * machine.rows)),
        "inputs": int(rng.integers(1, 400)),
        "tokens": int(rng.integers(1, 3 * machine.columns + 1)),
        "group_size": machine.lanes * int(rng.choice([1, 2, 8, 32])),
    }


def run(name: str, shape: dict[str, Any], **memory: Any) -> Cosimulation:
    rng = np.random.default_rng(shape["inputs"])
    weights = rng.standard_normal((shape["outputs"], shape["inputs"]))
    inputs = rng.standard_normal((shape["tokens"], shape["inputs"])).astype(np.float16)
    size = min(shape["group_size"], shape["inputs"])
    return cosimulate(name, weights, inputs, format=shape["name"], group_size=size, **memory)


def job_of(machine: Machine, shape: dict[str, Any]) -> Matmul:
    fmt = formats.get(shape["name"])
    sizes = {key: shape[key] for key in ("outputs", "inputs", "tokens", "group_size")}
    return matmul_counts(machine, fmt.code_bits, fmt.term_count, **sizes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bitmod-small", pytest.param("bitmod-64x1", marks=pytest.mark.long)]
)
def test_all_agree(name: str) -> None:
    """Without stalls to the cycle; with stalls too, when the recurrence knows their pattern.

    A recurrence that knows only how likely they are is off by what the draws differ.
    """
    machine, rng = machine_of(name), np.random.default_rng(6)
    guesses, totals = [], []
    for index in range(SHAPES // 2):
        shape = random_shape(rng, machine)
        job = job_of(machine, shape)
        prompt, late = run(name, shape), run(name, shape, stall=STALL, seed=index)
        rungs = closed_form(job, machine.scale_bits)
        assert prompt.values_different == late.values_different == 0
        assert prompt.cycles_measured == sum(rungs)
        causes = schedule(machine, [job])[0].tolist()
        assert list(prompt.cycles_by_cause.values()) == causes
        for cause in ("compute", "descriptor", "activation_load", "pipeline_fill"):
            assert causes[CAUSES.index(cause)] == getattr(rungs, cause)

        threshold = threshold_of(STALL)
        known = schedule(machine, [job], Memory(threshold=threshold, seed=index))[0]
        assert list(late.cycles_by_cause.values()) == known.tolist()
        guesses.append(
            schedule(machine, [job], Memory(threshold=threshold, seed=1000 + index)).sum()
        )
        totals.append(late.cycles_measured)
    assert abs(sum(guesses) / sum(totals) - 1) < 0.02
