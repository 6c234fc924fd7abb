"""One decoder layer for one token as a program of the sparse DSP core, from real numbers.

Takes the weights of a Llama layer and the state of a token, chooses scales from the real values
that the pruned layer computes for it, and appends every operation to a CheckedProgram. Keys and
values of the context, the token's own included, are operands that the host lays out.

Numbers: rows that matrices multiply are INT8, everything between is 16 bits, one scale a vector;
weights have one scale an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import e, floor, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from plait.hwgen.sparse_dsp.checked import CheckedProgram, Value
from plait.hwgen.sparse_dsp.weights import BLOCK, SparseMatrix
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_functions import GATE_FRACTION_BITS, LOG_FRACTION_BITS
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.instruction import MiscOperation

__all__ = ["Layer", "append_layer", "channels_of", "pruned", "ratio"]

Floats = NDArray[np.float64]

_INT8, _INT16 = 127, 16000  # largest magnitudes aimed at; 16 bits leave a factor of two to grow
_COSINE_BITS = 14
_PROBABILITY_BITS = 7
_KEPT = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and the token it runs for, in real numbers.

    Args:
        weights: [outputs, inputs] by name: q_proj ... down_proj.
        gains: of input_layernorm and post_attention_layernorm, [hidden].
        hidden: the layer's input [hidden].
        past_keys, past_values: of the tokens before, keys rotated: [tokens, kv heads, head size].
        cosines, sines: of the token's position, [head size].
        epsilon: of the norms.
    """

    weights: Mapping[str, Floats]
    gains: Mapping[str, Floats]
    hidden: Floats
    past_keys: Floats
    past_values: Floats
    cosines: Floats
    sines: Floats
    epsilon: float


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


class _Builder:
    """Appends operations with their scales; every number has a real value beside it."""

    def __init__(self, program: CheckedProgram, bits: int) -> None:
        self.program, self.bits = program, bits

    def norm(
        self, name: str, value: Value, scale: float, layer: Layer, real: Floats
    ) -> tuple[Value, float, Floats]:
        gains = layer.gains[name]
        result = real / np.sqrt((real**2).mean() + layer.epsilon) * gains
        result_scale = _scale(result, _INT8)
        wanted = gains * sqrt(len(gains)) / result_scale
        up = floor(log2(_INT16 * 2 / np.abs(wanted).max()))
        constants = Constants(
            output_shift=31 + up,
            is_int8=True,
            epsilon=round(layer.epsilon * len(real) / scale**2),
        )
        operand = self.program.vector(np.rint(wanted * 2.0**up).astype(np.int64))
        found = self.program.misc(name, MiscOperation.RMS_NORM, value, operand, constants)
        return found, result_scale, result

    def linear(
        self, name: str, weight: Floats, row: Value, scale: float, real: Floats
    ) -> tuple[Value, float, Floats]:
        matrix, scales = pruned(weight, self.bits)
        result = (matrix.codes * scales[:, None]) @ real
        result_scale = _scale(result, _INT16)
        channels = channels_of(scales * scale / result_scale, is_int8=False)
        return self.program.linear(name, matrix, channels, row), result_scale, result

    def add(
        self, name: str, left: tuple[Value, float, Floats], right: tuple[Value, float, Floats]
    ) -> tuple[Value, float, Floats]:
        result = left[2] + right[2]
        scale = _scale(result, _INT16)
        shift = min(ratio(left[1] / scale)[1], ratio(right[1] / scale)[1])
        constants = Constants(
            multiplier_a=round(left[1] / scale * 2.0**shift),
            multiplier_b=round(right[1] / scale * 2.0**shift),
            output_shift=shift,
        )
        found = self.program.misc(name, MiscOperation.ADD, left[0], right[0], constants)
        return found, scale, result

    def rotate(
        self, name: str, value: Value, scale: float, layer: Layer, heads: int, real: Floats
    ) -> tuple[Value, float, Floats]:
        size = len(layer.cosines)
        split = real.reshape(heads, size)
        swapped = np.concatenate([-split[:, size // 2 :], split[:, : size // 2]], axis=1)
        result = (split * layer.cosines + swapped * layer.sines).reshape(-1)
        result_scale = _scale(result, _INT8)
        sign = np.where(np.arange(size) < size // 2, -1.0, 1.0)
        tables = [layer.cosines, layer.sines * sign]
        operands = [
            self.program.vector(np.tile(np.rint(table * (1 << _COSINE_BITS)), heads).astype(int))
            for table in tables
        ]
        keep = Constants(output_shift=_COSINE_BITS)
        mul = MiscOperation.MUL
        parts = [
            self.program.misc(f"{name} cosine", mul, value, operands[0], keep),
            self.program.misc(f"{name} sine", mul, value, operands[1], keep, size // BLOCK),
        ]
        multiplier, shift = ratio(scale / result_scale)
        last = Constants(multiplier, multiplier, output_shift=shift, is_int8=True)
        found = self.program.misc(name, MiscOperation.ADD, parts[0], parts[1], last)
        return found, result_scale, result


def append_layer(
    program: CheckedProgram, layer: Layer, bits: int
) -> dict[str, tuple[Value, float]]:
    """Append a whole layer; give the result and its scale, and the new key and value.

    Args:
        bits: of the weights: 8 or 4.
    """
    build = _Builder(program, bits)
    kv_heads, size = layer.past_keys.shape[1:]
    scale = _scale(layer.hidden, _INT16)
    start = program.vector(np.rint(layer.hidden / scale).astype(np.int64))
    hidden = (start, scale, layer.hidden)
    normed = build.norm("input_layernorm", *hidden[:2], layer, layer.hidden)
    row = normed[0], normed[1], normed[2]
    query, key, value = (build.linear(n, layer.weights[n], *row) for n in _QKV)
    heads = len(query[2]) // size
    query = build.rotate("rope q", query[0], query[1], layer, heads, query[2])
    key = build.rotate("rope k", key[0], key[1], layer, kv_heads, key[2])
    keys = np.concatenate([layer.past_keys, key[2].reshape(1, kv_heads, size)])
    values = np.concatenate([layer.past_values, value[2].reshape(1, kv_heads, size)])
    attention = _attention(program, query, keys, values)
    output = build.linear("o_proj", layer.weights["o_proj"], *attention)
    middle = build.add("attention residual", hidden, output)
    normed = build.norm("post_attention_layernorm", *middle[:2], layer, middle[2])
    row = normed[0], normed[1], normed[2]
    gated = _silu(program, build.linear("gate_proj", layer.weights["gate_proj"], *row))
    up = build.linear("up_proj", layer.weights["up_proj"], *row)
    product = gated[2] * up[2]
    product_scale = _scale(product, _INT8)
    multiplier, shift = ratio(gated[1] * up[1] / product_scale)
    constants = Constants(multiplier, output_shift=shift, is_int8=True)
    inner = program.misc("gate times up", MiscOperation.MUL, gated[0], up[0], constants)
    down = build.linear("down_proj", layer.weights["down_proj"], inner, product_scale, product)
    result = build.add("feed-forward residual", middle, down)
    return {"hidden": result[:2], "key": key[:2], "value": value[:2]}


_QKV = ("q_proj", "k_proj", "v_proj")


def _attention(
    program: CheckedProgram, query: tuple[Value, float, Floats], keys: Floats, values: Floats
) -> tuple[Value, float, Floats]:
    """Scores, softmax and the mean of the values, a head at a time."""
    context, kv_heads, size = keys.shape
    heads = len(query[2]) // size
    blocks = size // BLOCK
    key_scale, value_scale = _scale(keys, _INT8), _scale(values, _INT8)
    real_rows = query[2].reshape(heads, size)
    head_of = [head * kv_heads // heads for head in range(heads)]
    real = [real_rows[h] @ keys[:, head_of[h]].T / sqrt(size) for h in range(heads)]
    score_scale = max(_scale(one, _INT16) for one in real)
    powers = [np.exp(one - one.max()) for one in real]
    means = [p / p.sum() @ values[:, head_of[h]] for h, p in enumerate(powers)]
    result = np.concatenate(means)
    scale = _scale(result, _INT8)
    multiplier, shift = ratio(score_scale * log2(e) * (1 << LOG_FRACTION_BITS))
    softmax = Constants(
        multiplier,
        input_shift=shift,
        is_int8=True,
        last_lanes=(context - 1) % BLOCK + 1,
        fraction=_PROBABILITY_BITS,
    )
    whole = program.assembler.room(heads * size)
    parts = []
    for head in range(heads):
        codes = np.rint(keys[:, head_of[head]] / key_scale).astype(np.int8)
        to_score = query[1] * key_scale / sqrt(size) / score_scale
        scores = program.linear(
            f"scores {head}",
            SparseMatrix(codes, None, 8),
            channels_of(np.full(context, to_score), is_int8=False),
            query[0].part(head * blocks, blocks),
        )
        chances = program.misc(f"softmax {head}", MiscOperation.SOFTMAX, scores, None, softmax)
        columns = np.rint(values[:, head_of[head]] / value_scale).astype(np.int8).T
        to_mean = value_scale * 2.0**-_PROBABILITY_BITS / scale
        parts.append(
            program.linear(
                f"attention {head}",
                SparseMatrix(np.ascontiguousarray(columns), None, 8),
                channels_of(np.full(size, to_mean), is_int8=True),
                chances,
                whole.part(head * blocks, blocks),
            )
        )
    return program.join(parts, whole), scale, result


def _silu(
    program: CheckedProgram, gate: tuple[Value, float, Floats]
) -> tuple[Value, float, Floats]:
    result = gate[2] / (1 + np.exp(-gate[2]))
    scale = _scale(result, _INT16)
    multiplier_a, input_shift = ratio(gate[1] * (1 << GATE_FRACTION_BITS))
    multiplier_b, output_shift = ratio(gate[1] / scale)
    constants = Constants(multiplier_a, multiplier_b, input_shift, output_shift + 16)
    found = program.misc("silu", MiscOperation.SILU, gate[0], None, constants)
    return found, scale, result
