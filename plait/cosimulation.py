"""Runs generated Verilog beside the golden model and the prediction, and counts what differs.

Takes a machine and operands, gives a Cosimulation: are all values equal, are the cycles those
predicted? The only place where values, time and gates meet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError, unknown_name
from plait.hwgen.bit_serial.assemble import Multiplication, Program, assemble
from plait.hwgen.bit_serial.parameters import geometry
from plait.hwgen.bit_serial.recipe import golden_outputs
from plait.hwgen.design import Design
from plait.hwgen.generate import design_of
from plait.models.quantize import QuantizedTensor, quantize
from plait.run_native import run_native
from plait.sim.families.bit_serial_cycles import closed_form
from plait.sim.families.bit_serial_schedule import Machine, matmul_counts, schedule
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES, Memory, threshold_of
from plait.sim.spec import Accelerator, load_accelerator
from plait.sim.spec.base import Phase
from plait.sim.spec.bit_serial import BitSerial
from plait.sim.spec.sparse_dsp import SparseDsp

if TYPE_CHECKING:
    from plait.models.llm.decoder import Decoder

__all__ = [
    "ACTIVATIONS",
    "LAYER_FORMATS",
    "Cosimulation",
    "cosimulate",
    "cosimulate_layer",
    "machine_of",
    "predicted_cycles",
]

ACTIVATIONS = ("fp16", "int8")
LAYER_FORMATS = ("bitmod3", "bitmod4", "int6", "int8")
_DEFAULT_FORMAT = "bitmod4"
_LAYER_GROUP = 64  # SmolLM2's 576 inputs are nine groups of it
TEXT = (
    "Ever since I was a child, I have been something of a daredevil, and I have always lost by it."
)


@dataclass(frozen=True, slots=True)
class Cosimulation:
    """One matrix multiplication on generated Verilog, compared.

    Args:
        machine: its name, and the shape of its array.
        op: what was multiplied; empty for a caller's own operands.
        format, group_size, activation: of the operands.
        shape: (tokens, outputs, inputs).
        stall: probability that the memory stalls, a cycle and channel.
        values_compared: outputs of the Verilog.
        values_different: how many of them are not, bit for bit, those of the golden model.
        cycles_predicted: by the simulator, for this very pattern of stalls.
        cycles_measured: by the Verilog's own counter.
        cycles_by_cause: the Verilog's counters; they add up to cycles_measured.
        outputs: float32 [tokens, outputs], as the Verilog wrote them.
    """

    machine: str
    op: str
    format: str
    group_size: int
    activation: str
    shape: tuple[int, int, int]
    stall: float
    values_compared: int
    values_different: int
    cycles_predicted: int
    cycles_measured: int
    cycles_by_cause: Mapping[str, int]
    outputs: NDArray[np.float32] = field(repr=False)

    @property
    def agrees(self) -> bool:
        """Whether no value and no cycle differs."""
        return self.values_different == 0 and self.cycles_predicted == self.cycles_measured

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON knows it."""
        return asdict(self) | {"shape": list(self.shape), "outputs": self.outputs.tolist()}

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(self.to_dict())


def cosimulate(
    machine: str | Path | Accelerator,
    weights: ArrayLike | QuantizedTensor,
    inputs: NDArray[np.float16] | NDArray[np.int8],
    *,
    format: str | None = None,
    group_size: int | str | None = None,
    stall: float = 0.0,
    seed: int = 0,
    phase: Phase = "decode",
    trace: str | Path | None = None,
    op: str = "",
) -> Cosimulation:
    """Run one matrix multiplication on a machine's generated Verilog.

    Args:
        machine: a name of ``plait machines``, a YAML file, or an Accelerator.
        weights: [outputs, inputs] numbers, quantised here; or a QuantizedTensor.
        inputs: activations [tokens, inputs], float16 or int8.
        format: of the weights, where they are numbers; by default the machine's own.
        group_size: likewise.
        stall: probability that the memory refuses or delays, a cycle and channel.
        seed: of the stalls.
        phase: the array's shape.
        trace: file that gets the waveform (VCD).
        op: a name for the result.
    """
    machine = load_accelerator(machine)
    threshold_of(stall)  # refuses it before anything is built
    design = design_of(machine, phase)
    if not isinstance(machine, BitSerial):
        raise SpecError(
            "multiplies no two matrices by itself",
            where=machine.name,
            got=machine.family,
            expected="a machine of family bit_serial",
        )
    tensor = _quantised(weights, machine, phase, format, group_size)
    if tensor.format.name not in design.formats:
        design = design_of(machine, phase, [*design.formats, tensor.format.name])
    job = Multiplication(tensor, inputs)
    program = assemble([job], geometry(design.parameters), design.formats)
    predicted = predicted_cycles(design, program, stall, seed)
    run = run_native(
        design,
        program.blocks,
        results_at=program.results_at,
        results_words=program.results_words,
        predicted=predicted,
        stall=stall,
        seed=seed,
        trace=trace,
    )
    (outputs,) = program.outputs(run.results)
    expected = golden_outputs(design, job)
    return Cosimulation(
        machine=f"{machine.name} {design.parameters['Rows']}x{design.parameters['Columns']}",
        op=op,
        format=tensor.format.name,
        group_size=tensor.group_size,
        activation="int8" if job.activations.dtype == np.int8 else "fp16",
        shape=(len(outputs), *tensor.shape),
        stall=stall,
        values_compared=outputs.size,
        values_different=int((outputs.view(np.uint32) != expected.view(np.uint32)).sum()),
        cycles_predicted=predicted,
        cycles_measured=run.cycles,
        cycles_by_cause=run.counters,
        outputs=outputs,
    )


def cosimulate_layer(
    machine: str | Path | Accelerator,
    op: str | None = None,
    *,
    formats: Sequence[str] = (),
    activations: Sequence[str] = (),
    tokens: int = 16,
    phase: Phase = "decode",
    stall: float = 0.0,
    seed: int = 0,
    trace: str | Path | None = None,
) -> Iterator[Cosimulation]:
    """Run the linears of a layer of SmolLM2, with its weights and the activations of real text.

    Args:
        op: one linear, such as ``layers.0.mlp.down_proj``; by default all seven of layer 0.
            A sparse DSP machine runs the whole layer then (`plait.cosimulation_sparse`).
        formats: weight formats, groups of 64; by default LAYER_FORMATS.
        activations: fp16, int8 (one scale a linear); by default both. A sparse DSP machine knows
            int8 alone.
        tokens: of the text that runs through the model.
        trace: file that gets the waveform (VCD) of the last run.
    """
    machine = load_accelerator(machine)
    # What is refused is refused before a model is loaded.
    threshold_of(stall)
    design_of(machine, phase)
    known = ("int8",) if isinstance(machine, SparseDsp) else ACTIVATIONS
    for kind in activations:
        if kind not in known:
            raise SpecError(unknown_name("activation", kind, known), where=machine.name)
    if isinstance(machine, SparseDsp):
        from plait.cosimulation_sparse import cosimulate_sparse

        yield from cosimulate_sparse(
            machine,
            op,
            formats=formats or (default_format(machine),),
            tokens=tokens,
            stall=stall,
            seed=seed,
            trace=trace,
        )
        return
    from plait.models.llm import load_module

    formats = formats or LAYER_FORMATS
    module = load_module("smollm2-135m")
    for name, (weights, captured) in linears_of(module, op, tokens).items():
        for format in formats:
            tensor = quantize(weights, format, group_size=_LAYER_GROUP, scale_bits=8)
            for kind in activations or ACTIVATIONS:
                inputs = _int8(captured) if kind == "int8" else captured.astype(np.float16)
                yield cosimulate(
                    machine,
                    tensor,
                    inputs,
                    phase=phase,
                    stall=stall,
                    seed=seed,
                    trace=trace,
                    op=name,
                )


def default_format(machine: str | Path | Accelerator) -> str:
    """The weight format of a layer where the caller names none."""
    return "int4" if load_accelerator(machine).family == "sparse_dsp" else _DEFAULT_FORMAT


def predicted_cycles(design: Design, program: Program, stall: float = 0.0, seed: int = 0) -> int:
    """Cycles of a program: in closed form; by the recurrence where the memory stalls.

    Args:
        stall, seed: which decide the pattern of stalls that the harness follows, too.
    """
    simulated = machine_of(design)
    matmuls = [
        matmul_counts(
            simulated,
            code_bits=shape.code_bits,
            terms=job.weights.format.term_count,
            outputs=shape.outputs,
            inputs=shape.inputs,
            tokens=shape.tokens,
            group_size=shape.group_size,
        )
        for job, shape in zip(program.jobs, program.shapes, strict=True)
    ]
    if not stall:
        return sum(int(sum(closed_form(matmul, simulated.scale_bits))) for matmul in matmuls)
    memory = Memory(MEMORY_LATENCY_CYCLES, threshold_of(stall), seed)
    return int(schedule(simulated, matmuls, memory).sum())


def machine_of(design: Design) -> Machine:
    """A design's parameters as the recurrence wants them."""
    parameters = design.parameters
    return Machine(
        rows=parameters["Rows"],
        columns=parameters["Columns"],
        lanes=parameters["Lanes"],
        scale_bits=parameters["ScaleBits"],
        port_bits=parameters["PortBits"],
        weight_buffer_steps=parameters["WeightBufferSteps"],
        scale_buffer_groups=parameters["ScaleBufferGroups"],
    )


def _quantised(
    weights: ArrayLike | QuantizedTensor,
    machine: Accelerator,
    phase: Phase,
    format: str | None,
    group_size: int | str | None,
) -> QuantizedTensor:
    if isinstance(weights, QuantizedTensor):
        return weights
    own = machine.formats.resolve("", phase).get("weight")
    name = format or (own if isinstance(own, str) else _DEFAULT_FORMAT)
    size = machine.formats.group_size if group_size is None else group_size
    matrix = np.asarray(weights)
    if matrix.ndim != 2:
        raise SpecError("not a matrix", where="weights", got=matrix.shape, expected="2 dimensions")
    return quantize(matrix, name, group_size=size, scale_bits=8)


def linears_of(
    module: Decoder, op: str | None, tokens: int
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights [outputs, inputs] and inputs [tokens, inputs] of the linears asked for."""
    import torch

    known = {name: m for name, m in module.named_modules() if isinstance(m, torch.nn.Linear)}
    chosen = [name for name in known if name.startswith("layers.0.")] if op is None else [op]
    if chosen[0] not in known:
        raise SpecError(unknown_name("linear", op, known), where="layer")
    captured: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda _, inputs: captured.update({name: inputs[0]})

    hooks = [known[name].register_forward_pre_hook(keep(name)) for name in chosen]
    ids = module.tokenizer(TEXT)["input_ids"]
    if not 1 <= tokens <= len(ids):
        raise SpecError(
            "the text is shorter", where="tokens", got=tokens, expected=f"1 to {len(ids)}"
        )
    with torch.no_grad():
        module(torch.tensor([ids[:tokens]]))
    for hook in hooks:
        hook.remove()
    return {
        name: (known[name].weight.detach().numpy(), captured[name][0].numpy()) for name in chosen
    }


def _int8(values: NDArray[np.float32]) -> NDArray[np.int8]:
    """Symmetric, one scale for all."""
    return np.rint(values * (127 / np.abs(values).max())).astype(np.int8)
