"""A list of matrix multiplications as one memory image: descriptors, weights, activations, room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError, unknown_name
from plait.hwgen.bit_serial.layout import Geometry, Shape
from plait.hwgen.bit_serial.memory_image import (
    activation_image,
    check_activations,
    read_results,
    weight_image,
)
from plait.hwgen.bit_serial.program import (
    DESCRIPTOR_WORDS,
    Descriptor,
    disassemble,
    encode,
)
from plait.models.golden.bit_serial_linear import check_tensor

if TYPE_CHECKING:
    from plait.models.quantize import QuantizedTensor

_MOST_TERMS = 8
_SLACK = 200  # cycles of latencies a group or tile: dequantiser, pipeline, memory

__all__ = ["Multiplication", "Program", "assemble", "shape_of"]


@dataclass(frozen=True, slots=True)
class Multiplication:
    """One job: activations [tokens, inputs] (float16 or int8) times weights [outputs, inputs]."""

    weights: QuantizedTensor
    activations: NDArray[np.float16] | NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Program:
    """What the host puts into memory, and where the answers will be.

    Args:
        blocks: {address: uint8 [words, port bytes]}; the descriptors are at address 0.
        descriptors: one a multiplication.
        shapes: likewise.
        results_at, results_words: the region of all results, in order.
    """

    jobs: tuple[Multiplication, ...] = field(repr=False)
    blocks: Mapping[int, NDArray[np.uint8]] = field(repr=False)
    descriptors: tuple[Descriptor, ...]
    shapes: tuple[Shape, ...]
    results_at: int
    results_words: int

    @property
    def listing(self) -> str:
        """The descriptors as text."""
        return disassemble(self.descriptors) + "\n"

    @property
    def cycle_bound(self) -> int:
        """More cycles than an unstalled run can take: nothing overlaps, every term slow."""
        bound = 1000
        for shape in self.shapes:
            group = _MOST_TERMS * shape.steps_per_group + shape.group_words + _SLACK
            tile = shape.groups * group + shape.geometry.result_words + _SLACK
            bound += shape.token_tiles * (shape.output_tiles * tile + shape.activation_words)
        return 2 * bound

    def outputs(self, results: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Cut the region of results into one array [tokens, outputs] a multiplication."""
        ends = np.cumsum([shape.all_result_words for shape in self.shapes])
        parts = np.split(results, ends[:-1])
        return [read_results(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]


def shape_of(job: Multiplication, geometry: Geometry) -> Shape:
    """Check that the operands suit the machine and each other, and cut them into tiles."""
    check_tensor(job.weights, geometry.lanes)
    check_activations(job.activations)
    outputs, inputs = job.weights.shape
    if job.activations.ndim != 2 or job.activations.shape[1] != inputs:
        raise SpecError(
            "the activations do not fit the weights",
            where="inputs",
            got=job.activations.shape,
            expected=f"[tokens, {inputs}]",
        )
    whole = -(-inputs // geometry.lanes) * geometry.lanes
    size = job.weights.group_size
    return Shape(
        geometry,
        tokens=job.activations.shape[0],
        outputs=outputs,
        inputs=inputs,
        group_size=whole if size >= inputs else size,
        code_bits=job.weights.format.code_bits,
    )


def assemble(jobs: Sequence[Multiplication], geometry: Geometry, formats: Sequence[str]) -> Program:
    """Lay out the jobs one behind the other, in the order in which they run.

    Args:
        formats: the machine's formats in the order of the descriptor's index.
    """
    shapes = [shape_of(job, geometry) for job in jobs]
    address = DESCRIPTOR_WORDS * len(jobs)
    blocks: dict[int, NDArray[np.uint8]] = {}
    planned = []
    for job, shape in zip(jobs, shapes, strict=True):
        name = job.weights.format.name
        if name not in formats:
            raise SpecError(
                f"the machine's decoder lacks it: {unknown_name('format', name, formats)}",
                where="weights",
            )
        descriptor = Descriptor.plan(
            shape,
            format_index=list(formats).index(name),
            int8_activations=job.activations.dtype == np.int8,
            weight_address=address,
            activation_address=address + shape.weight_words,
            result_address=0,
            last=job is jobs[-1],
        )
        blocks[descriptor.weight_address] = weight_image(job.weights, shape)
        blocks[descriptor.activation_address] = activation_image(job.activations, shape)
        address = descriptor.activation_address + shape.all_activation_words
        planned.append(descriptor)
    results_at = address
    for index, shape in enumerate(shapes):
        planned[index] = replace(planned[index], result_address=address)
        address += shape.all_result_words
    blocks[0] = encode(planned, geometry.port_bytes)
    return Program(
        tuple(jobs), blocks, tuple(planned), tuple(shapes), results_at, address - results_at
    )
