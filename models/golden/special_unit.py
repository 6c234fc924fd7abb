"""The special function unit: what one MISC instruction computes, bit for bit as the RTL does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.errors import SpecError
from plait.models.golden import special_functions as functions

__all__ = ["BLOCK", "LARGEST_SHIFT", "UNIT_OPERATIONS", "Constants", "misc"]

BLOCK = 16  # elements of a buffer entry, and of a cycle
LARGEST_SHIFT = 63
UNIT_OPERATIONS = ("add", "mul", "softmax", "rms_norm", "silu", "gelu")


@dataclass(frozen=True, slots=True)
class Constants:
    """What a MISC instruction finds in its bias entry; each operation reads some of them.

    Args:
        multiplier_a, multiplier_b: unsigned, 16 bits. add: of the operands; mul: multiplier_a of
            the product; silu, gelu: multiplier_a of the argument, multiplier_b of the result;
            softmax: multiplier_a of the exponent.
        input_shift: of softmax's exponent and of the argument of silu and gelu, 0 to 63.
        output_shift: of the result (not softmax's), 0 to 63.
        is_int8: the result is saturated to 8 bits, else to 16.
        last_lanes: elements of the last block, for softmax; the rest gives 0.
        fraction: fraction bits of softmax's results, 0 to 31.
        epsilon: of the norm, added to the sum of squares, 32 bits.
    """

    multiplier_a: int = 1
    multiplier_b: int = 1
    input_shift: int = 0
    output_shift: int = 0
    is_int8: bool = False
    last_lanes: int = BLOCK
    fraction: int = 7
    epsilon: int = 0

    @property
    def bits(self) -> int:
        """Of the result."""
        return 8 if self.is_int8 else 16


def misc(
    operation: str, left: ArrayLike, right: ArrayLike, constants: Constants
) -> NDArray[np.int64]:
    """Give the results of one instruction, a multiple of 16 elements as the operands are.

    Args:
        operation: one of UNIT_OPERATIONS.
        left, right: 16-bit integers [elements]; right is not read by softmax, silu and gelu, and
            holds the gains of a norm.
    """
    c, values = constants, np.asarray(left, np.int64)
    if operation == "add":
        pair = (c.multiplier_a, c.multiplier_b)
        return functions.add(values, right, pair, c.output_shift, c.bits)
    if operation == "mul":
        return functions.multiply(values, right, c.multiplier_a, c.output_shift, c.bits)
    if operation == "rms_norm":
        return functions.rms_norm(values, right, c.epsilon, c.output_shift, c.bits)
    if operation in ("silu", "gelu"):
        gated = functions.silu if operation == "silu" else functions.gelu
        argument = (c.multiplier_a, c.input_shift)
        return gated(values, argument, (c.multiplier_b, c.output_shift), c.bits)
    if operation == "softmax":
        count = len(values) - BLOCK + c.last_lanes
        found = functions.softmax(
            values[:count], c.multiplier_a, c.input_shift, c.fraction, c.bits, BLOCK
        )
        return np.concatenate([found, np.zeros(BLOCK - c.last_lanes, np.int64)])
    raise SpecError(
        "the special function unit does not do it",
        where="operation",
        got=operation,
        expected=", ".join(UNIT_OPERATIONS),
    )
