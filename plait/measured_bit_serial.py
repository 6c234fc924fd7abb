"""Views of the bit-serial machine measured against each other on its own Verilog.

Short shapes, ragged in every direction, in all formats of the decoder; and long ones, of 10,000
cycles and more, on which the memory stalls at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plait.cosimulation import Cosimulation, cosimulate, machine_of
from plait.hwgen.generate import design_of
from plait.measured import Error, relative
from plait.models.golden.bit_serial_linear import linear
from plait.models.quantize import QuantizedTensor, quantize
from plait.sim import load_accelerator
from plait.sim.families.bit_serial_cycles import closed_form
from plait.sim.families.bit_serial_published import published_matmul
from plait.sim.families.bit_serial_schedule import Machine, matmul_counts, schedule
from plait.sim.families.bit_serial_tiles import Matmul
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES, Memory, threshold_of
from plait.sim.spec.bit_serial import BitSerial

__all__ = ["LONG_SHAPES", "SHORT_SHAPES", "on_long_shapes", "on_short_shapes"]

SHORT_SHAPES = 60
LONG_SHAPES = 50
_MACHINE = "bitmod-small"
_VERILOG = f"the Verilog of `{_MACHINE}`"
_FORMATS = ("bitmod3", "bitmod4", "int4", "int5", "int6", "int8", "flint4", "fp6-e2m3")
_NARROW_BITS = 15  # the published accumulator
_OTHER_PATTERNS = 8


class _Operands(NamedTuple):
    weights: QuantizedTensor
    activations: NDArray[Any]

    @property
    def exact(self) -> NDArray[np.float64]:
        """Sums of these very weights and activations; float64 has room for all of them if INT8."""
        weights = self.weights
        assert weights.scale_codes is not None
        assert weights.channel_steps is not None
        group = np.arange(weights.shape[1]) // weights.group_size
        selectors = weights.selectors[:, group] if weights.format.selector_bits else 0
        values = weights.format.decode(weights.codes, selectors).astype(np.float64)
        scales = weights.scale_codes[:, group] * weights.channel_steps[:, None].astype(np.float64)
        exact: NDArray[np.float64] = self.activations.astype(np.float64) @ (values * scales).T
        return exact


def on_short_shapes() -> Iterator[Error]:
    """Values, and cycles with a prompt memory and a stalling one."""
    cycles, stalled, wide, narrow = [], [], [], []
    values = different = integers = inexact = 0
    for index, operands in enumerate(_short_operands()):
        prompt = cosimulate(_MACHINE, *operands)
        late = cosimulate(_MACHINE, *operands, stall=0.2, seed=index)
        cycles.append(_cycle_error(prompt))
        stalled.append(_cycle_error(late))
        values += prompt.values_compared + late.values_compared
        different += prompt.values_different + late.values_different
        exact = operands.exact
        if operands.activations.dtype == np.int8:
            integers += exact.size
            inexact += int((prompt.outputs != exact.astype(np.float32)).sum())
            continue
        wide.append(_root_mean_square(prompt.outputs, exact))
        if operands.weights.format.term_count == 2:
            published = linear(*operands, accumulator_bits=_NARROW_BITS)
            narrow.append(_root_mean_square(published, exact))
    yield Error(f"values of {_VERILOG}", "golden model, bit for bit", values, different / values)
    yield Error(f"cycles of {_VERILOG}", "`closed_form`", len(cycles), max(cycles))
    yield Error(
        f"cycles of {_VERILOG}, memory stalling",
        "recurrence, same stalls",
        len(stalled),
        max(stalled),
    )
    yield Error(
        "values of the golden model, INT8 activations",
        "exact sums, rounded once to FP32",
        integers,
        inexact / integers,
    )
    float_sums = "exact sums of the same weights, root mean square"
    yield Error(
        "values of the golden model, FP16 activations, 24-bit accumulator",
        float_sums,
        len(wide),
        max(wide),
    )
    yield Error(
        f"the same with the published {_NARROW_BITS} bits, formats of two terms",
        float_sums,
        len(narrow),
        max(narrow),
    )


def on_long_shapes() -> Iterator[Error]:
    """Cycles where fill and drain are small: published equations, and stalls by chance alone."""
    machine = load_accelerator(_MACHINE)
    assert isinstance(machine, BitSerial)
    simulated = machine_of(design_of(machine))
    rng = np.random.default_rng(1)
    cycles, recurrence, published, stalled, by_chance = [], [], [], [], []
    for seed in range(LONG_SHAPES):
        operands, group_size = _long_operands(rng, _FORMATS[seed % len(_FORMATS)])
        stall = float(rng.uniform(0.05, 0.6))
        job = _counts(simulated, operands, group_size)
        prompt = cosimulate(_MACHINE, *operands)
        late = cosimulate(_MACHINE, *operands, stall=stall, seed=seed)
        cycles.append(_cycle_error(prompt))
        stalled.append(_cycle_error(late))
        closed = int(sum(closed_form(job, simulated.scale_bits)))
        recurrence.append(relative(closed, int(schedule(simulated, [job]).sum())))
        published.append(relative(_published_cycles(machine, operands), prompt.cycles_measured))
        guess = _expected_cycles(simulated, job, stall, seed)
        by_chance.append(relative(guess, late.cycles_measured))
    shapes = f"{_VERILOG}, 10,000 cycles and more"
    yield Error("cycles of the recurrence", "`closed_form`", len(recurrence), max(recurrence))
    yield Error(f"cycles of {shapes}", "`closed_form`", len(cycles), max(cycles))
    yield Error(f"cycles of {shapes}", "equations of `published`", len(published), max(published))
    yield Error(
        f"cycles of {shapes}, memory stalling",
        "recurrence, same stalls",
        len(stalled),
        max(stalled),
    )
    yield Error(
        f"cycles of {shapes}, memory stalling",
        f"recurrence that knows how often alone: mean of {_OTHER_PATTERNS} other patterns",
        len(by_chance),
        max(by_chance),
    )


def _short_operands() -> Iterator[_Operands]:
    rng = np.random.default_rng(0)
    for index in range(SHORT_SHAPES):
        outputs, inputs, tokens = (int(n) for n in rng.integers((1, 1, 1), (41, 301, 10)))
        weights = quantize(
            rng.standard_normal((outputs, inputs)),
            _FORMATS[index % len(_FORMATS)],
            group_size=min(inputs, int(rng.integers(1, 33)) * 4),
            scale_bits=8,
        )
        activations = rng.standard_normal((tokens, inputs)).astype(np.float16)
        if index % 3 == 2:
            activations = np.rint(activations * 30).clip(-128, 127).astype(np.int8)
        yield _Operands(weights, activations)


def _long_operands(rng: np.random.Generator, name: str) -> tuple[_Operands, int]:
    """Linears of a small LLM, and their group size."""
    outputs, inputs = int(rng.integers(40, 65)) * 8, int(rng.integers(128, 200)) * 4
    tokens, group_size = int(rng.integers(1, 9)), int(rng.choice([32, 64, 128]))
    weights = quantize(
        rng.standard_normal((outputs, inputs)), name, group_size=group_size, scale_bits=8
    )
    return _Operands(weights, rng.standard_normal((tokens, inputs)).astype(np.float16)), group_size


def _counts(machine: Machine, operands: _Operands, group_size: int) -> Matmul:
    fmt, (outputs, inputs) = operands.weights.format, operands.weights.shape
    return matmul_counts(
        machine,
        fmt.code_bits,
        fmt.term_count,
        outputs=outputs,
        inputs=inputs,
        tokens=len(operands.activations),
        group_size=group_size,
    )


def _expected_cycles(machine: Machine, job: Matmul, stall: float, seed: int) -> float:
    """Mean over patterns of stalls that are as likely, none of them the one that was run."""
    others = (
        Memory(MEMORY_LATENCY_CYCLES, threshold_of(stall), 1000 + _OTHER_PATTERNS * seed + other)
        for other in range(_OTHER_PATTERNS)
    )
    return float(np.mean([schedule(machine, [job], memory).sum() for memory in others]))


def _published_cycles(machine: BitSerial, operands: _Operands) -> int:
    outputs, inputs = operands.weights.shape
    array, buffers = machine.array.decode, machine.buffers
    counted = published_matmul(
        rows=array.rows,
        columns=array.columns,
        lanes=machine.pe.lanes,
        terms=operands.weights.format.term_count,
        port_bits=machine.dram.port_bits_per_cycle,
        weight_buffer_bytes=buffers.weight_bytes,
        activation_buffer_bytes=buffers.activation_bytes,
        scale_buffer_bytes=buffers.scale_bytes,
        write_port_bits=buffers.write_port_bits,
        scale_bits=machine.pe.scale_bits,
        inputs=inputs,
        outputs=outputs,
        tokens=len(operands.activations),
        batch=1,
        weight_bits=operands.weights.bits_per_weight,
        code_bits=operands.weights.format.code_bits,
        group_size=operands.weights.group_size,
        activation_bits=16,
        own_weights=False,
    )
    return int(counted.compute + counted.memory_stall)


def _cycle_error(run: Cosimulation) -> float:
    return relative(run.cycles_predicted, run.cycles_measured)


def _root_mean_square(got: NDArray[np.float32], exact: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))
