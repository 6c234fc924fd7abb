"""Stimuli and expected values of the benches around the array, made outside the simulator.

A bench that imports numba or numpy spends ten seconds a run on it; these come as a pickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import packed
from numpy.typing import NDArray

from plait.hwgen.bit_serial.assemble import Multiplication, Program, assemble
from plait.hwgen.bit_serial.layout import Geometry, Shape
from plait.hwgen.bit_serial.memory_image import activation_image, result_image, weight_image
from plait.hwgen.bit_serial.package import DEFAULT_FORMATS
from plait.models.golden.bit_serial import EXPONENT_BITS, FP16_UNIT_EXPONENT, output_float32
from plait.models.golden.bit_serial_linear import linear
from plait.models.quantize import QuantizedTensor, quantize
from plait.sim.families.bit_serial_schedule import Machine, matmul_counts, schedule
from plait.sim.families.memory_port import Memory, threshold_of


def save(cases: Sequence[Any], folder: Path) -> dict[str, str]:
    """Write cases for a bench; give the environment that leads it there."""
    path = folder / "cases.pickle"
    path.write_bytes(pickle.dumps(list(cases)))
    return {"CASES": str(path)}


def as_words(image: NDArray[np.uint8]) -> list[int]:
    """Words of a memory image as numbers."""
    return [int.from_bytes(row.tobytes(), "little") for row in image]


def weight_cases(machine: Geometry, depth: int, scale_bits: int) -> Iterator[dict[str, Any]]:
    """Matrices of all widths and ragged sizes; the last one is more than a buffer's depth."""
    for name in ("int8", "bitmod3", "bitmod4", "int5", "int6"):
        for group_steps, steps in ((1, 3), (4, 10), (8, 8)):
            yield _weights(machine, name, group_steps, steps, tiles=2, scale_bits=scale_bits)
    yield _weights(machine, "int8", 32, depth + 32, tiles=1, scale_bits=scale_bits)


def _weights(
    machine: Geometry, name: str, group_steps: int, steps: int, tiles: int, scale_bits: int
) -> dict[str, Any]:
    rng = np.random.default_rng(len(name) + steps)
    weights = rng.standard_normal((tiles * machine.rows, steps * machine.lanes))
    size = min(group_steps, steps) * machine.lanes
    tensor = quantize(weights, name, group_size=size, scale_bits=scale_bits)
    bits = tensor.format.code_bits
    shape = Shape(machine, 1, *weights.shape, group_size=size, code_bits=bits)
    channels = np.asarray(tensor.channel_steps).view(np.uint16).reshape(tiles, machine.rows)
    return {
        "format": DEFAULT_FORMATS.index(name),
        "groups": shape.groups,
        "steps_per_group": shape.steps_per_group,
        "last_group_steps": shape.last_group_steps,
        "tile_steps": shape.steps,
        "step_words": shape.step_words,
        "words": as_words(weight_image(tensor, shape)),
        "steps": list(_steps_of(tensor, shape, scale_bits)),
        "channels": [packed(tile.tolist(), 16) for tile in channels],
    }


def _steps_of(
    tensor: QuantizedTensor, shape: Shape, scale_bits: int
) -> Iterator[tuple[bool, int, int, int]]:
    """In order: is it a group's first; packed codes, selectors and scales."""
    count, lanes = shape.geometry.rows, shape.geometry.lanes
    for tile in range(shape.output_tiles):
        rows = slice(tile * count, (tile + 1) * count)
        for step in range(shape.steps):
            group, place = divmod(step, shape.steps_per_group)
            codes = tensor.codes[rows, step * lanes : (step + 1) * lanes]
            assert tensor.scale_codes is not None
            yield (
                place == 0,
                packed(codes.ravel().tolist(), 8),
                packed(tensor.selectors[rows, group].tolist(), 2),
                packed(tensor.scale_codes[rows, group].tolist(), scale_bits),
            )


def activation_cases(machine: Geometry, depth: int) -> Iterator[dict[str, Any]]:
    """Token tiles from one step to a full buffer, both kinds of activations."""
    for is_int8 in (False, True):
        for steps in sorted({1, min(2, depth), max(depth - 1, 1), depth}):
            yield _activations(machine, steps, is_int8)


def _activations(machine: Geometry, steps: int, is_int8: bool) -> dict[str, Any]:
    rng = np.random.default_rng(steps)
    size = (machine.columns, steps * machine.lanes)
    if is_int8:
        values = rng.integers(-128, 128, size).astype(np.int8)
        bits = values.view(np.uint8).astype(np.uint16)
    else:  # every finite FP16, subnormals and both zeros too
        bits = rng.integers(0, 1 << 16, size).astype(np.uint16)
        bits = np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits)
        values = bits.view(np.float16)
    inputs = steps * machine.lanes
    shape = Shape(machine, machine.columns, 1, inputs, group_size=inputs, code_bits=4)
    by_step = bits.reshape(machine.columns, steps, machine.lanes).swapaxes(0, 1)
    return {
        "is_int8": is_int8,
        "words": as_words(activation_image(values, shape)),
        "steps": [packed(step.ravel().tolist(), 16) for step in by_step],
    }


def output_cases(
    machine: Geometry, mantissa_bits: int, guard_bits: int
) -> Iterator[tuple[dict[str, int], list[int]]]:
    """Inputs of a tile of results, and the words that must come."""
    words = machine.result_words
    for seed in range(20):
        is_int8 = seed % 2 == 1
        rng = np.random.default_rng(seed)
        size = (machine.columns, machine.rows)
        mantissas = rng.integers(-(1 << 31), 1 << 31, size) >> rng.integers(0, 32, size)
        exponents = np.zeros(size, np.int64) if is_int8 else rng.integers(0, 40, size)
        steps = rng.integers(0, 1 << 16, machine.rows).astype(np.uint16)
        steps = np.where(steps & 0x7C00 == 0x7C00, steps & 0x83FF, steps).astype(np.uint16)
        unit = exponents if is_int8 else exponents - FP16_UNIT_EXPONENT - guard_bits
        results = output_float32(mantissas, unit, steps.view(np.float16)).view(np.uint32)
        padded = np.zeros(words * machine.port_bits // 32, np.uint32)
        padded[: results.size] = results.ravel()
        inputs = {
            "mantissas_i": packed(mantissas.ravel().tolist(), mantissa_bits),
            "exponents_i": packed(exponents.ravel().tolist(), EXPONENT_BITS),
            "channel_steps_i": packed(steps.tolist(), 16),
            "is_int8_i": int(is_int8),
        }
        yield inputs, [packed(word.tolist(), 32) for word in padded.reshape(words, -1)]


def program_cases(machine: Machine, arithmetic: dict[str, int], count: int) -> list[dict[str, Any]]:
    """Lists of descriptors of all formats and ragged sizes, on memories of all tempers.

    Args:
        arithmetic: widths, as arguments of plait.models.golden's `linear`.
        count: how many.
    """
    rng = np.random.default_rng(3)
    cases = []
    for index in range(count):
        jobs = [_multiplication(machine, rng, 3 * index + job) for job in range(1 + index % 3)]
        threshold = threshold_of((0, 0.5, 0, 0.1)[index % 4])
        memory = Memory(int(rng.integers(1, 40)), threshold, seed=index)
        cases.append(program_case(machine, arithmetic, jobs, memory))
    return cases


def _multiplication(machine: Machine, rng: np.random.Generator, index: int) -> Multiplication:
    lanes = machine.lanes
    group_steps = int(rng.choice([1, 2, 3, 8, 16]))
    inputs = int(rng.integers(1, min(4 * group_steps, 40) * lanes + 1))
    weights = rng.standard_normal((int(rng.integers(1, 3 * machine.rows + 1)), inputs))
    activations = rng.standard_normal((int(rng.integers(1, 3 * machine.columns + 1)), inputs))
    name = DEFAULT_FORMATS[index % len(DEFAULT_FORMATS)]
    size = min(group_steps * lanes, inputs)
    tensor = quantize(weights, name, group_size=size, scale_bits=machine.scale_bits)
    if rng.integers(2):
        return Multiplication(tensor, np.rint(40 * activations).clip(-128, 127).astype(np.int8))
    return Multiplication(tensor, activations.astype(np.float16))


def program_case(
    machine: Machine, arithmetic: dict[str, int], jobs: list[Multiplication], memory: Memory
) -> dict[str, Any]:
    """A list of descriptors as the bench wants it: memory, writes and counters to expect."""
    geometry = Geometry(machine.rows, machine.columns, machine.lanes, machine.port_bits)
    program = assemble(jobs, geometry, DEFAULT_FORMATS)
    results = []
    for job, shape in zip(jobs, program.shapes, strict=True):
        outputs = linear(
            job.weights, job.activations, lanes=machine.lanes, scale_bits=machine.scale_bits,
            **arithmetic,
        )  # fmt: skip
        results += as_words(result_image(outputs, shape))
    return {
        "words": _memory_words(program),
        "memory": (memory.latency, memory.threshold, memory.seed),
        "writes": [(program.results_at + i, word) for i, word in enumerate(results)],
        "counters": schedule(machine, _counts(machine, program), memory).sum(axis=0).tolist(),
    }


def _memory_words(program: Program) -> dict[int, int]:
    return {
        address + i: word
        for address, block in program.blocks.items()
        for i, word in enumerate(as_words(block))
    }


def _counts(machine: Machine, program: Program) -> list[Any]:
    return [
        matmul_counts(
            machine, shape.code_bits, job.weights.format.term_count,
            shape.outputs, shape.inputs, shape.tokens, shape.group_size,
        )
        for job, shape in zip(program.jobs, program.shapes, strict=True)
    ]  # fmt: skip


def default_cases(top: str, changed: dict[str, int]) -> list[Any]:
    """Cases of a module with its default parameters but the rows, of a single PE; or none."""
    rows = changed.get("Rows", 8)
    if top == "plait_bs_weight_buffer":
        return list(weight_cases(Geometry(rows, 1, 4, 256), depth=64, scale_bits=8))
    if top == "plait_bs_activation_buffer":
        return list(activation_cases(Geometry(1, 4, 4, 256), depth=1024))
    if top == "plait_bs_output":
        return list(output_cases(Geometry(rows, 4, 1, 256), mantissa_bits=40, guard_bits=3))
    if top == "plait_bs_core":
        arithmetic = {"accumulator_bits": 15, "guard_bits": 3}
        return program_cases(Machine(1, 1, 1, 8, 256, 16, 4), arithmetic, count=8)
    return []
