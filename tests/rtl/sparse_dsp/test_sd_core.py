"""The whole machine: memory as the golden values leave it, cycles as the recurrence says."""

import dataclasses

import numpy as np
import pytest
from harness import RTL

from plait.cosimulation import cosimulate_layer
from plait.cosimulation_sparse import predicted, run_checked
from plait.errors import PlaitError
from plait.hwgen.generate import design_of
from plait.hwgen.sparse_dsp.checked import CheckedProgram, expected_memory
from plait.hwgen.sparse_dsp.example import example
from plait.hwgen.sparse_dsp.parameters import core_from
from plait.models.golden.special_unit import Constants
from plait.sim import simulate
from plait.sim.compiler.cycles import DOT_LATENCY
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.families.sparse_dsp_verilog import CAUSES
from plait.sim.spec import load_accelerator

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

SMALL = load_accelerator("flightllm-small")
DESIGN = design_of(SMALL)
BLOCK = 16


@pytest.mark.parametrize("stall", [0.0, 0.1, 0.5])
def test_memory_and_cycles(stall):
    for seed in range(4):
        program = example(DESIGN, seed)
        expected = predicted(program.checked, stall, seed)
        run = run_checked(DESIGN, program.image, expected.times.cycles, stall, seed)
        assert (run.results == expected_memory(program.checked, program.image)).all()
        assert run.cycles == expected.times.cycles
        assert sum(run.counters.values()) == run.cycles
        assert [run.counters[cause] for cause in CAUSES] == expected.causes().sum(axis=0).tolist()


@pytest.mark.long
def test_memory_and_cycles_with_the_primitive():
    design = design_of(SMALL.with_(**{"core.dsp48e2": True}))
    program = example(design)
    expected = predicted(program.checked).times.cycles
    run = run_checked(design, program.image, expected)
    assert (run.results == expected_memory(program.checked, program.image)).all()
    assert run.cycles == expected


def test_programs_longer_than_the_instruction_buffer():
    program = CheckedProgram(dataclasses.replace(core_from(DESIGN.parameters), segment_entries=8))
    rng = np.random.default_rng(4)
    value = program.vector(rng.integers(-99, 99, 40))
    for number in range(9):
        constants = Constants(2, 1, output_shift=1)
        value = program.misc(str(number), MiscOperation.ADD, value, value, constants)
    image = program.image()
    assert len(image.segments) > 2
    expected = predicted(program).times.cycles
    run = run_checked(DESIGN, image, expected)
    assert (run.results == expected_memory(program, image)).all()
    assert run.cycles == expected


@pytest.mark.parametrize(
    ("word", "byte", "value", "named"),
    [
        (0, 0, 0, "program"),  # magic
        (0, 4, 0, "program"),  # a segment of no words
        (1, 3, 0x70, "program"),  # an opcode there is not
    ],
)
def test_a_bad_program_ends_the_run(word, byte, value, named):
    image = example(DESIGN).image
    changed = image.blocks[0].copy()
    changed[word, byte] = value
    bad = dataclasses.replace(image, blocks={**image.blocks, 0: changed})
    with pytest.raises(PlaitError, match=rf"the machine raised {named}|did not finish"):
        run_checked(DESIGN, bad, 5000)


def test_an_operation_there_is_not_is_reported():
    program = CheckedProgram(core_from(DESIGN.parameters))
    value = program.vector(np.arange(BLOCK))
    program.misc("add", MiscOperation.ADD, value, value, Constants())
    segment = program.image()
    image = segment.blocks[0].copy()
    binary = image[1:].reshape(-1).view("<u4")
    place = next(i for i, w in enumerate(binary) if w >> 28 == 5 and i >= 21)
    binary[place] |= 15
    bad = dataclasses.replace(segment, blocks={**segment.blocks, 0: image})
    with pytest.raises(PlaitError, match="the machine raised operation"):
        run_checked(DESIGN, bad, 5000)


@pytest.mark.model
@pytest.mark.parametrize(("format", "stall"), [("int4", 0.0), ("int8", 0.1)])
def test_a_layer_of_a_real_model(format, stall):
    (run,) = cosimulate_layer("flightllm-small", formats=[format], stall=stall)
    assert run.values_compared > 13000
    assert run.values_different == 0
    assert run.cycles_measured == run.cycles_predicted
    if format == "int4" and not stall:  # what simulate says from shapes and densities alone
        table = simulate("smollm2-135m", SMALL, context=16, fidelity="verilog").table
        layers = table[table["count"] > 1]
        cycles = layers["cycles"].sum() / layers["count"].iloc[0]
        assert cycles == pytest.approx(run.cycles_measured, rel=1e-3)


@pytest.mark.long
@pytest.mark.model
def test_what_follows_the_layers():
    (run,) = cosimulate_layer("flightllm-small", "lm_head")
    table = simulate("smollm2-135m", SMALL, context=16, fidelity="verilog").table
    assert run.values_compared == 576 + 49152
    assert run.values_different == 0
    assert run.cycles_measured == run.cycles_predicted
    assert run.cycles_measured == table[table["count"] == 1]["cycles"].sum()


def test_the_latency_of_the_array_is_said_twice_alike():
    package = (RTL / "sparse_dsp" / "plait_sd_machine_pkg.sv").read_text()
    assert f"DOT_LATENCY = {DOT_LATENCY};" in package
