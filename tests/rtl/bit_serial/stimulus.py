"""Numbers that the benches of the bit-serial modules share."""

from __future__ import annotations

import numpy as np

from plait.hwgen.bit_serial.package import DEFAULT_FORMATS
from plait.models import formats
from plait.models.formats import Format

FORMATS = [formats.get(name) for name in DEFAULT_FORMATS]
_CORNERS = np.array(
    [0, -0.0, 65504, -65504, 6e-8, -6e-8, 6.1e-5, 1, -1, 0.00097, 2047, -2049], np.float16
)


def fp16_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Finite FP16: ordinary numbers, any bit patterns, and corners."""
    ordinary = rng.standard_normal(shape).astype(np.float16)
    patterns = rng.integers(0, 1 << 16, shape).astype(np.uint16)
    patterns &= np.where(patterns & 0x7C00 == 0x7C00, 0xBFFF, 0xFFFF).astype(np.uint16)
    corners = rng.choice(_CORNERS, shape)
    return np.choose(
        rng.choice(3, shape, p=[0.6, 0.3, 0.1]), [ordinary, patterns.view(np.float16), corners]
    )


def int8_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """INT8, the ends more often than elsewhere."""
    return np.where(
        rng.random(shape) < 0.2,
        rng.choice(np.array([-128, -127, 0, 127], np.int8), shape),
        rng.integers(-128, 128, shape).astype(np.int8),
    ).astype(np.int8)


def random_codes(rng: np.random.Generator, fmt: Format, shape: tuple[int, ...]) -> np.ndarray:
    """Any code, also those that the format leaves unused."""
    return rng.integers(0, 1 << fmt.code_bits, shape)
