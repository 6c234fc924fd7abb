"""Weights and activations as words of the machine's memory, and the way back.

An image is a uint8 array [words, port bytes]; layout.py says what lies where. Every function here
has its inverse, so that a test can ask for the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.bit_serial.layout import Geometry, Shape

if TYPE_CHECKING:
    from plait.models.quantize import QuantizedTensor

__all__ = [
    "StoredWeights",
    "activation_image",
    "check_activations",
    "read_activations",
    "read_results",
    "read_weights",
    "result_image",
    "weight_image",
]

Image = NDArray[np.uint8]
_TILES_AT_ONCE = 16  # bounds the memory taken by unpacked bits


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """What the memory holds of a quantised matrix, padding removed.

    Args:
        codes: [outputs, inputs] codes of the format.
        selectors: [outputs, groups] which of the format's grids.
        scale_codes: [outputs, groups] integer scale of each group.
        channel_steps: [outputs] FP16 step of each output channel.
    """

    codes: NDArray[np.uint8]
    selectors: NDArray[np.uint8]
    scale_codes: NDArray[np.uint8]
    channel_steps: NDArray[np.float16]


def weight_image(tensor: QuantizedTensor, shape: Shape) -> Image:
    """Lay out the weights: all output tiles, each with channel steps, headers and bit planes.

    Args:
        tensor: one that plait.models.golden accepts (`check_tensor`): integer scales of two levels.
    """
    machine = shape.geometry
    rows = shape.output_tiles * machine.rows
    zero = int(tensor.format.encode(np.zeros(1))[0])
    codes = np.full((rows, shape.steps * machine.lanes), zero, np.uint8)
    codes[: shape.outputs, : shape.inputs] = tensor.codes
    image = np.zeros((shape.output_tiles, shape.tile_words, machine.port_bytes), np.uint8)

    channel_steps = _pad_rows(np.asarray(tensor.channel_steps, np.float16), rows)
    image[:, : machine.channel_words] = _words(
        channel_steps.view(np.uint16).reshape(shape.output_tiles, -1), machine.port_bytes
    )
    headers = _pad_rows(_headers(tensor), rows)
    by_tile = headers.reshape(shape.output_tiles, machine.rows, shape.groups).swapaxes(1, 2)
    image[:, _header_positions(shape)] = _words(by_tile, machine.port_bytes)

    by_step = codes.reshape(shape.output_tiles, machine.rows, shape.steps, machine.lanes)
    positions = _step_positions(shape)
    for first in range(0, shape.output_tiles, _TILES_AT_ONCE):
        part = slice(first, first + _TILES_AT_ONCE)
        image[part, positions] = _to_planes(by_step[part].swapaxes(1, 2), shape)
    return image.reshape(-1, machine.port_bytes)


def read_weights(image: Image, shape: Shape) -> StoredWeights:
    """Undo weight_image."""
    machine = shape.geometry
    tiles = _checked(image, shape.weight_words, machine, "weights").reshape(
        shape.output_tiles, shape.tile_words, machine.port_bytes
    )
    channel_steps = _values(tiles[:, : machine.channel_words], machine.rows, np.uint16)
    headers = _values(tiles[:, _header_positions(shape)], machine.rows, np.uint16)
    by_row = headers.swapaxes(1, 2).reshape(-1, shape.groups)[: shape.outputs]
    codes = _from_planes(tiles[:, _step_positions(shape)], shape).swapaxes(1, 2)
    return StoredWeights(
        codes=codes.reshape(shape.output_tiles * machine.rows, -1)[: shape.outputs, : shape.inputs],
        selectors=(by_row >> 8).astype(np.uint8),
        scale_codes=(by_row & 0xFF).astype(np.uint8),
        channel_steps=channel_steps.reshape(-1)[: shape.outputs].view(np.float16),
    )


def activation_image(activations: NDArray[np.float16] | NDArray[np.int8], shape: Shape) -> Image:
    """Lay out the activations [tokens, inputs]: all token tiles."""
    check_activations(activations)
    machine = shape.geometry
    if activations.dtype == np.int8:
        bits = activations.view(np.uint8).astype(np.uint16)
    else:
        bits = np.ascontiguousarray(activations).view(np.uint16)
    padded = np.zeros((shape.token_tiles * machine.columns, shape.steps * machine.lanes), np.uint16)
    padded[: shape.tokens, : shape.inputs] = bits
    by_column = padded.reshape(shape.token_tiles, machine.columns, shape.steps, machine.lanes)
    by_step = by_column.swapaxes(1, 2).reshape(shape.token_tiles, shape.steps, -1)
    together = machine.activation_steps_per_word
    if together:
        missing = -shape.steps % together
        by_step = np.pad(by_step, ((0, 0), (0, missing), (0, 0)))
        by_step = by_step.reshape(shape.token_tiles, -1, together * by_step.shape[-1])
    words = _words(by_step, machine.port_bytes)
    return words.reshape(-1, machine.port_bytes)


def read_activations(image: Image, shape: Shape, dtype: type[np.generic]) -> NDArray[np.generic]:
    """Undo activation_image; dtype is np.float16 or np.int8."""
    machine = shape.geometry
    words = _checked(image, shape.all_activation_words, machine, "activations")
    values = machine.columns * machine.lanes
    together = machine.activation_steps_per_word
    blocks = shape.activation_words if together else shape.steps
    words = words.reshape(shape.token_tiles, blocks, -1, machine.port_bytes)
    by_step = _values(words, values * (together or 1), np.uint16)
    by_step = by_step.reshape(shape.token_tiles, -1, machine.columns, machine.lanes)
    by_column = by_step[:, : shape.steps].swapaxes(1, 2)
    by_token = by_column.reshape(shape.token_tiles * machine.columns, -1)
    kept = np.ascontiguousarray(by_token[: shape.tokens, : shape.inputs])
    return kept.astype(np.uint8).view(np.int8) if dtype is np.int8 else kept.view(np.float16)


def result_image(outputs: NDArray[np.float32], shape: Shape) -> Image:
    """Lay out results [tokens, outputs] as the machine writes them, padding zero."""
    machine = shape.geometry
    padded = np.zeros(
        (shape.token_tiles * machine.columns, shape.output_tiles * machine.rows), np.float32
    )
    padded[: shape.tokens, : shape.outputs] = outputs
    tiles = padded.reshape(shape.token_tiles, machine.columns, shape.output_tiles, machine.rows)
    blocks = tiles.swapaxes(1, 2).reshape(shape.token_tiles * shape.output_tiles, -1)
    return _words(blocks.view(np.uint32), machine.port_bytes).reshape(-1, machine.port_bytes)


def read_results(image: Image, shape: Shape) -> NDArray[np.float32]:
    """Give the results [tokens, outputs] of the words the machine wrote; undoes result_image."""
    machine = shape.geometry
    words = _checked(image, shape.all_result_words, machine, "results")
    blocks = words.reshape(-1, machine.result_words, machine.port_bytes)
    values = _values(blocks, machine.rows * machine.columns, np.uint32).view(np.float32)
    tiles = values.reshape(shape.token_tiles, shape.output_tiles, machine.columns, machine.rows)
    whole = tiles.swapaxes(1, 2).reshape(shape.token_tiles * machine.columns, -1)
    return np.ascontiguousarray(whole[: shape.tokens, : shape.outputs])


def check_activations(activations: NDArray[np.generic]) -> None:
    """Refuse activations that are not finite FP16 or INT8 numbers [tokens, inputs]."""
    if activations.dtype not in (np.float16, np.int8):
        raise SpecError(
            "activations of another kind",
            where="inputs",
            got=str(activations.dtype),
            expected="float16 or int8",
        )
    if activations.dtype == np.float16:
        _refuse(~np.isfinite(activations), "not a finite number", "inputs: token {}, input {}")


def _refuse(bad: NDArray[np.bool_], what: str, where: str) -> None:
    if bad.any():
        raise SpecError(what, where=where.format(*np.argwhere(bad)[0].tolist()))


def _checked(image: Image, words: int, machine: Geometry, what: str) -> Image:
    if image.shape != (words, machine.port_bytes):
        raise SpecError(
            "the memory image has another size",
            where=what,
            got=image.shape,
            expected=f"{words} words of {machine.port_bytes} bytes",
        )
    return image


def _headers(tensor: QuantizedTensor) -> NDArray[np.uint16]:
    assert tensor.scale_codes is not None  # check_tensor
    selectors = np.asarray(tensor.selectors, np.uint16)
    return selectors << np.uint16(8) | tensor.scale_codes.astype(np.uint16)


def _pad_rows(array: NDArray, rows: int) -> NDArray:
    padded = np.zeros((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded


def _header_positions(shape: Shape) -> NDArray[np.intp]:
    """Word positions in a tile of the headers: [groups, header words]."""
    machine = shape.geometry
    starts = machine.channel_words + np.arange(shape.groups) * shape.group_words
    return starts[:, None] + np.arange(machine.header_words)


def _step_positions(shape: Shape) -> NDArray[np.intp]:
    """Word positions in a tile of the codes: [steps, step words]."""
    machine = shape.geometry
    steps = np.arange(shape.steps)
    headers_before = steps // shape.steps_per_group + 1
    starts = machine.channel_words + headers_before * machine.header_words
    return (starts + steps * shape.step_words)[:, None] + np.arange(shape.step_words)


def _to_planes(codes: NDArray[np.uint8], shape: Shape) -> Image:
    """Codes [tiles, steps, rows, lanes] -> words [tiles, steps, step words, port bytes]."""
    machine = shape.geometry
    tiles, steps = codes.shape[:2]
    flat = codes.reshape(tiles, steps, 1, -1)
    planes = flat >> np.arange(shape.code_bits, dtype=np.uint8)[:, None] & np.uint8(1)
    bits = np.zeros((tiles, steps, *_plane_grid(shape)), np.uint8)
    together = machine.planes_per_word
    if together:
        missing = -shape.code_bits % together
        planes = np.pad(planes, ((0, 0), (0, 0), (0, missing), (0, 0)))
        planes = planes.reshape(tiles, steps, shape.step_words, -1)
    bits[..., : planes.shape[-1]] = planes
    return np.packbits(bits, axis=-1, bitorder="little").reshape(
        tiles, steps, shape.step_words, machine.port_bytes
    )


def _from_planes(words: Image, shape: Shape) -> NDArray[np.uint8]:
    """Undo _to_planes."""
    machine = shape.geometry
    tiles, steps = words.shape[:2]
    values = machine.rows * machine.lanes
    bits = np.unpackbits(words, axis=-1, bitorder="little")
    bits = bits.reshape(tiles, steps, *_plane_grid(shape))
    bits = bits[..., : (machine.planes_per_word or 1) * values]
    planes = bits.reshape(tiles, steps, -1, values)[:, :, : shape.code_bits]
    weights = np.uint8(1) << np.arange(shape.code_bits, dtype=np.uint8)[:, None]
    return (planes * weights).sum(2, dtype=np.uint8).reshape(tiles, steps, machine.rows, -1)


def _plane_grid(shape: Shape) -> tuple[int, int]:
    """Rows of bits that a step is stored as, and their length."""
    machine = shape.geometry
    if machine.planes_per_word:
        return shape.step_words, machine.port_bits
    return shape.code_bits, machine.plane_words * machine.port_bits


def _words(values: NDArray[np.unsignedinteger], port_bytes: int) -> Image:
    """Cut the last axis into words, zeros last: [..., values] -> [..., words, port bytes]."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8)
    missing = -little.shape[-1] % port_bytes
    padded = np.pad(little, [(0, 0)] * (little.ndim - 1) + [(0, missing)])
    return padded.reshape(*little.shape[:-1], -1, port_bytes)


def _values(words: Image, count: int, dtype: type[np.unsignedinteger]) -> NDArray:
    """Undo _words: [..., words, port bytes] -> the first `count` values [..., count]."""
    flat = np.ascontiguousarray(words).reshape(*words.shape[:-2], -1)
    return flat.view(np.dtype(dtype).newbyteorder("<")).astype(dtype)[..., :count]
