"""The constants of a MISC instruction as a word of the bias buffer, and the way back."""

from __future__ import annotations

from typing import Any

from plait.errors import SpecError
from plait.models.golden.special_unit import Constants

__all__ = ["CONSTANT_BITS", "decode_constants", "encode_constants"]

# Lowest bits first: special_constants_t of plait_sd_machine_pkg, from its last field on.
CONSTANT_BITS = {
    "epsilon": 32,
    "fraction": 5,
    "last_lanes": 5,
    "is_int8": 1,
    "output_shift": 6,
    "input_shift": 6,
    "multiplier_b": 16,
    "multiplier_a": 16,
}


def encode_constants(constants: Constants) -> int:
    """Give the word.

    >>> one = Constants(multiplier_a=3, last_lanes=5)
    >>> decode_constants(encode_constants(one)) == one
    True
    """
    word, low = 0, 0
    for name, bits in CONSTANT_BITS.items():
        value = int(getattr(constants, name))
        if not 0 <= value < 1 << bits:
            raise SpecError(
                "does not fit the special function unit",
                where=f"constants.{name}",
                got=value,
                expected=f"0 to {(1 << bits) - 1}",
            )
        word |= value << low
        low += bits
    return word


def decode_constants(word: int) -> Constants:
    """Undo `encode_constants`."""
    values: dict[str, Any] = {}
    low = 0
    for name, bits in CONSTANT_BITS.items():
        values[name] = word >> low & (1 << bits) - 1
        low += bits
    return Constants(**values | {"is_int8": bool(values["is_int8"])})
