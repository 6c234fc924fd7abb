"""The values of a decoder layer, or of what follows the layers: operands of the compiler's units.

Takes the weights of a Llama layer and the state of a token, chooses scales from the real values
that the pruned layer computes for it, and gives every unit of the compiler its operands in a
CheckedProgram, unit after unit. What is computed in which order with which instructions and widths
is the compiler's choice (`plait.sim.compiler.decode_step`).

Vectors have one scale each, weights one an output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import e, floor, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.sparse_dsp.checked import CheckedProgram
from plait.hwgen.sparse_dsp.weights import SparseMatrix
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_functions import GATE_FRACTION_BITS, LOG_FRACTION_BITS
from plait.models.golden.special_unit import Constants
from plait.models.graph.workload import Workload
from plait.sim.compiler.decode_step import compile_step
from plait.sim.compiler.instruction import MiscOperation
from plait.sim.compiler.kept import FORMAT_BITS, KEPT
from plait.sim.compiler.relocatable import CoreUnit, Multiply, Special
from plait.sim.spec.sparse_dsp import BLOCK, SparseDsp

__all__ = ["Layer", "Real", "append_layer", "channels_of", "pruned", "ratio"]

Floats = NDArray[np.float64]

# Largest magnitudes aimed at, by is_int8; 16 bits leave a factor of two to grow.
_LARGEST = {True: 127, False: 16000}
_COSINE_BITS = 14
_PROBABILITY_BITS = 7
_KEPT = KEPT[1:]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, or what follows the layers, and the token it runs for, in real numbers.

    Args:
        weights: [outputs, inputs] by name: q_proj ... down_proj, or lm_head.
        gains: of the norms by name, [hidden].
        hidden: the input [hidden].
        epsilon: of the norms.
        past_keys, past_values: of the tokens before, keys rotated: [tokens, kv heads, head size].
        cosines, sines: of the token's position, [head size].
    """

    weights: Mapping[str, Floats]
    gains: Mapping[str, Floats]
    hidden: Floats
    epsilon: float
    past_keys: Floats = field(default_factory=lambda: np.zeros(0))
    past_values: Floats = field(default_factory=lambda: np.zeros(0))
    cosines: Floats = field(default_factory=lambda: np.zeros(0))
    sines: Floats = field(default_factory=lambda: np.zeros(0))


def pruned(weight: Floats, bits: int, dense: bool = False) -> tuple[SparseMatrix, Floats]:
    """Prune to N:16 by magnitude and round; give the matrix and its scales [outputs].

    The quarter of the 16 x 16 blocks with the least energy keeps 2 of 16 weights an output, the
    next quarters 4, 8 and all 16: every density that the machine has but 0.
    """
    if dense:
        mask = None
        kept = weight
    else:
        mask = _mask(weight)
        kept = np.where(mask, weight, 0.0)
    scales = np.abs(kept).max(axis=1) / ((1 << (bits - 1)) - 1)
    scales = np.where(scales > 0, scales, 1.0)
    codes = np.rint(kept / scales[:, None]).astype(np.int8)
    return SparseMatrix(codes, mask, bits), scales


def _mask(weight: Floats) -> NDArray[np.bool_]:
    """The weights kept; the shape must be whole blocks."""
    rows, columns = weight.shape[0] // BLOCK, weight.shape[1] // BLOCK
    blocks = np.abs(weight).reshape(rows, BLOCK, columns, BLOCK)
    energy = (blocks**2).sum(axis=(1, 3))
    rank = np.argsort(np.argsort(energy, axis=None)).reshape(energy.shape)
    kept = np.array(_KEPT)[rank * len(_KEPT) // energy.size]
    place = np.argsort(np.argsort(-blocks, axis=3), axis=3)
    return (place < kept[:, None, :, None]).reshape(weight.shape)


def ratio(real: float) -> tuple[int, int]:
    """A positive number as (multiplier of 16 bits, shift): multiplier / 2**shift.

    >>> ratio(0.75)
    (49152, 16)
    """
    shift = 15 - floor(log2(real))
    multiplier = round(real * 2.0**shift)
    return (multiplier >> 1, shift - 1) if multiplier == 1 << 16 else (multiplier, shift)


def channels_of(scales: Floats, is_int8: bool) -> Channels:
    """Output constants from the real value of a sum's unit over that of an element, [outputs]."""
    pairs = np.array([ratio(float(scale)) for scale in scales])
    return Channels(
        bias=np.zeros(len(scales), np.int32),
        multiplier=pairs[:, 0].astype(np.uint16),
        shift=pairs[:, 1].astype(np.uint8),
        is_int8=is_int8,
    )


def _scale(values: Floats, largest: int) -> float:
    return float(np.abs(values).max()) / largest


@dataclass(frozen=True, slots=True)
class Real:
    """The real numbers of a vector and what one of its integers is worth."""

    numbers: Floats
    scale: float


class _Attention:
    """What all heads of an attention share."""

    def __init__(self, query: Floats, keys: Floats) -> None:
        heads, size = len(query) // keys.shape[2], keys.shape[2]
        kv_heads = keys.shape[1]
        self.group = [head * kv_heads // heads for head in range(heads)]
        rows = query.reshape(heads, size)
        self.scores = [rows[h] @ keys[:, g].T / sqrt(size) for h, g in enumerate(self.group)]
        self.score_scale = max(_scale(one, _LARGEST[False]) for one in self.scores)
        powers = [np.exp(one - one.max()) for one in self.scores]
        self.chances = [power / power.sum() for power in powers]

    def means(self, values: Floats) -> Floats:
        """Of all heads, one after another."""
        return np.concatenate(
            [p @ values[:, g] for p, g in zip(self.chances, self.group, strict=True)]
        )


def append_layer(
    program: CheckedProgram, workload: Workload, machine: SparseDsp, layer: Layer, section: int = 0
) -> Mapping[str, Real]:
    """Prune a layer, compile the layers of the workload for it, append them with its values.

    Gives the real numbers of every vector, by its symbol, as the pruned layer has them.

    Args:
        workload: one decode step; its keys are those of the layer and the token's own.
        machine: what has density 1 there is not pruned.
        section: of the compiled program: 0 the layers, 1 what follows them.
    """
    c = workload.columns
    matrices = {}
    for row, op in enumerate(map(str, c["op"])):
        if c["kind"][row] == "linear" and _last_name(op) in layer.weights:
            bits, dense = FORMAT_BITS[c["weight_format"][row]], machine.density_of(op) == 1
            matrices[op] = pruned(layer.weights[_last_name(op)], bits, dense)
    kept = {op: m.kept for op, (m, _) in matrices.items() if m.mask is not None}
    compiled = compile_step(workload, machine, kept)[section]
    values = _Values(program, layer, matrices)
    for name in compiled.inputs:
        values.put_hidden(name)
    for unit in compiled.units:
        values.append(unit)
    return values.real


def _last_name(op: str) -> str:
    return str(op).rpartition(".")[2]


class _Values:
    """Operands of units; every vector has its real numbers beside it."""

    def __init__(
        self,
        program: CheckedProgram,
        layer: Layer,
        matrices: Mapping[str, tuple[SparseMatrix, Floats]],
    ) -> None:
        self.program, self.layer, self.matrices = program, layer, matrices
        self.real: dict[str, Real] = {}
        self.attentions: dict[str, _Attention] = {}
        self.rotated: dict[str, Real] = {}
        self.ready: set[tuple[str, str, int]] = set()

    def put_hidden(self, name: str) -> None:
        """Provide the layer's input."""
        hidden = self.layer.hidden
        self.real[name] = Real(hidden, _scale(hidden, _LARGEST[False]))
        self.program.put_vector(name, np.rint(hidden / self.real[name].scale))

    def append(self, unit: CoreUnit) -> None:
        """Provide what a unit reads, once for all pieces of an op's step, and append it."""
        step = (unit.op, unit.part, unit.head)
        if step not in self.ready:
            task = unit.task
            if isinstance(task, Multiply):
                self._products()[unit.part](unit, task)
            else:
                self._functions(unit, task)(unit, task)
            self.ready.add(step)
        self.program.append(unit)

    def _products(self) -> Mapping[str, Callable[[CoreUnit, Multiply], None]]:
        return {"": self._linear, "scores": self._scores, "values": self._means}

    def _functions(self, unit: CoreUnit, task: Special) -> Callable[[CoreUnit, Special], None]:
        by_part = {"cosine": self._turn, "sine": self._turn, "sum": self._turned}
        by_operation = {
            MiscOperation.RMS_NORM: self._norm,
            MiscOperation.ADD: self._add,
            MiscOperation.MUL: self._mul,
            MiscOperation.SILU: self._silu,
            MiscOperation.SOFTMAX: self._softmax,
        }
        if unit.part in by_part:
            return by_part[unit.part]
        if task.operation not in by_operation:
            raise SpecError("no values are known for it", where=unit.name, got=task.operation.name)
        return by_operation[task.operation]

    def _keep(self, task: Multiply | Special, numbers: Floats) -> float:
        """Note the real result of an op; give its scale."""
        scale = _scale(numbers, _LARGEST[task.is_int8])
        self.real[task.out.name] = Real(numbers, scale)
        return scale

    # ---- Products -----------------------------------------------------------------------------

    def _linear(self, unit: CoreUnit, task: Multiply) -> None:
        matrix, scales = self.matrices[unit.op]
        row = self.real[task.rows[0].name]
        scale = self._keep(task, (matrix.codes * scales[:, None]) @ row.numbers)
        channels = channels_of(scales * row.scale / scale, task.is_int8)
        self.program.put_matrix(task.weights, matrix, channels)

    def _scores(self, unit: CoreUnit, task: Multiply) -> None:
        query = self.real[task.rows[0].name]
        keys = self._cache(self.layer.past_keys, task)
        if unit.op not in self.attentions:
            self.attentions[unit.op] = _Attention(query.numbers, keys)
        shared = self.attentions[unit.op]
        key_scale = _scale(keys, _LARGEST[True])
        codes = np.rint(keys[:, shared.group[unit.head]] / key_scale).astype(np.int8)
        to_score = query.scale * key_scale / sqrt(keys.shape[2]) / shared.score_scale
        channels = channels_of(np.full(len(codes), to_score), task.is_int8)
        self.program.put_matrix(
            task.weights, SparseMatrix(codes, None, task.weights.bits), channels
        )

    def _softmax(self, unit: CoreUnit, task: Special) -> None:
        score_scale = self.attentions[unit.op].score_scale
        multiplier, shift = ratio(score_scale * log2(e) * (1 << LOG_FRACTION_BITS))
        constants = Constants(
            multiplier,
            input_shift=shift,
            is_int8=task.is_int8,
            last_lanes=(task.left.elements - 1) % BLOCK + 1,
            fraction=_PROBABILITY_BITS,
        )
        self.program.put_constants(task.constants, constants)

    def _means(self, unit: CoreUnit, task: Multiply) -> None:
        shared = self.attentions[unit.op]
        values = self._cache(self.layer.past_values, task)
        value_scale = _scale(values, _LARGEST[True])
        scale = self._keep(task, shared.means(values))
        columns = np.rint(values[:, shared.group[unit.head]] / value_scale).astype(np.int8).T
        matrix = SparseMatrix(np.ascontiguousarray(columns), None, task.weights.bits)
        to_mean = value_scale * 2.0**-_PROBABILITY_BITS / scale
        channels = channels_of(np.full(len(columns), to_mean), task.is_int8)
        self.program.put_matrix(task.weights, matrix, channels)

    def _cache(self, past: Floats, task: Multiply) -> Floats:
        """Keys or values of the context with the token's own, [tokens, kv heads, head size]."""
        newest = self.real[task.weights.newest].numbers
        return np.concatenate([past, newest.reshape(1, *past.shape[1:])])

    # ---- Special functions --------------------------------------------------------------------

    def _norm(self, unit: CoreUnit, task: Special) -> None:
        gains = self.layer.gains[_last_name(unit.op)]
        operand, epsilon = self.real[task.left.name], self.layer.epsilon
        real = operand.numbers
        scale = self._keep(task, real / np.sqrt((real**2).mean() + epsilon) * gains)
        wanted = gains * sqrt(len(gains)) / scale
        up = floor(log2(_LARGEST[False] * 2 / np.abs(wanted).max()))
        constants = Constants(
            output_shift=31 + up,
            is_int8=task.is_int8,
            epsilon=round(epsilon * len(real) / operand.scale**2),
        )
        self.program.put_constants(task.constants, constants)
        self._put_right(task, np.rint(wanted * 2.0**up))

    def _turn(self, unit: CoreUnit, task: Special) -> None:
        """One product of a rotation: with the cosines, or exchanged with the sines."""
        self.rotated[unit.op] = operand = self.real[task.left.name]
        size = len(self.layer.cosines)
        sign = np.where(np.arange(size) < size // 2, -1.0, 1.0)
        table = self.layer.sines * sign if task.head_blocks else self.layer.cosines
        codes = np.rint(table * (1 << _COSINE_BITS))
        self._put_right(task, np.tile(codes, len(operand.numbers) // size))
        self.program.put_constants(task.constants, Constants(output_shift=_COSINE_BITS))

    def _turned(self, unit: CoreUnit, task: Special) -> None:
        operand, size = self.rotated[unit.op], len(self.layer.cosines)
        split = operand.numbers.reshape(-1, size)
        swapped = np.concatenate([-split[:, size // 2 :], split[:, : size // 2]], axis=1)
        turned = split * self.layer.cosines + swapped * self.layer.sines
        multiplier, shift = ratio(operand.scale / self._keep(task, turned.reshape(-1)))
        constants = Constants(multiplier, multiplier, output_shift=shift, is_int8=task.is_int8)
        self.program.put_constants(task.constants, constants)

    def _add(self, unit: CoreUnit, task: Special) -> None:
        left, right = self._pair(task)
        scale = self._keep(task, left.numbers + right.numbers)
        shift = min(ratio(left.scale / scale)[1], ratio(right.scale / scale)[1])
        constants = Constants(
            multiplier_a=round(left.scale / scale * 2.0**shift),
            multiplier_b=round(right.scale / scale * 2.0**shift),
            output_shift=shift,
            is_int8=task.is_int8,
        )
        self.program.put_constants(task.constants, constants)

    def _mul(self, unit: CoreUnit, task: Special) -> None:
        left, right = self._pair(task)
        scale = self._keep(task, left.numbers * right.numbers)
        multiplier, shift = ratio(left.scale * right.scale / scale)
        constants = Constants(multiplier, output_shift=shift, is_int8=task.is_int8)
        self.program.put_constants(task.constants, constants)

    def _silu(self, unit: CoreUnit, task: Special) -> None:
        gate = self.real[task.left.name]
        scale = self._keep(task, gate.numbers / (1 + np.exp(-gate.numbers)))
        multiplier_a, input_shift = ratio(gate.scale * (1 << GATE_FRACTION_BITS))
        multiplier_b, output_shift = ratio(gate.scale / scale)
        constants = Constants(
            multiplier_a, multiplier_b, input_shift, output_shift + 16, task.is_int8
        )
        self.program.put_constants(task.constants, constants)

    def _pair(self, task: Special) -> tuple[Real, Real]:
        assert task.right is not None  # of an operation with two operands
        return self.real[task.left.name], self.real[task.right.name]

    def _put_right(self, task: Special, numbers: Floats) -> None:
        assert task.right is not None
        self.program.put_vector(task.right.name, numbers.astype(np.int64))
