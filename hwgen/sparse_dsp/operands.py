"""Vectors, output constants and constants of special functions as words of memory.

A vector is a word of 16 elements of 16 bits a block; INT8 elements are sign-extended.
`plait.hwgen.sparse_dsp.weights` has the matrices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.hwgen.sparse_dsp.constants import encode_constants
from plait.models.golden.sparse_dsp_output import Channels
from plait.models.golden.special_unit import Constants
from plait.sim.compiler.core import WORD_BYTES
from plait.sim.spec.sparse_dsp import BLOCK

__all__ = ["channel_image", "constants_image", "read_vector", "vector_image"]


def vector_image(values: ArrayLike) -> NDArray[np.uint8]:
    """Give the words of a vector [elements], or of rows [rows, elements] one after another."""
    rows = np.atleast_2d(np.asarray(values))
    blocks = -(-rows.shape[1] // BLOCK)
    padded = np.zeros((len(rows), blocks * BLOCK), "<i2")
    padded[:, : rows.shape[1]] = rows
    return padded.view(np.uint8).reshape(-1, WORD_BYTES)


def read_vector(words: NDArray[np.uint8], elements: int) -> NDArray[np.int64]:
    """Undo `vector_image` of one vector."""
    return np.ascontiguousarray(words).view("<i2").reshape(-1)[:elements].astype(np.int64)


def channel_image(channels: Channels) -> NDArray[np.uint8]:
    """Give the bias words: four outputs a word, each bias, multiplier, shift and width."""
    outputs = -(-len(channels.bias) // BLOCK) * BLOCK
    image = np.zeros((outputs, 8), np.uint8)
    count = len(channels.bias)
    image[:count, :4] = channels.bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    image[:count, 4:6] = channels.multiplier.astype("<u2").view(np.uint8).reshape(-1, 2)
    image[:count, 6] = channels.shift | (0x40 if channels.is_int8 else 0)
    return image.reshape(-1, WORD_BYTES)


def constants_image(constants: Constants) -> NDArray[np.uint8]:
    """Give the word."""
    word = encode_constants(constants).to_bytes(WORD_BYTES, "little")
    return np.frombuffer(word, np.uint8).reshape(1, -1)
