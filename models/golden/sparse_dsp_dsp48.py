"""The DSP48E2 block, cycle by cycle: pre-adder, multiplier, adder of four, register depths (UG579).

What the sparse DSP chains use of it, and what its simulation model in rtl/models is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Registers", "run", "signed"]

_DEFAULTS = {"a": 0, "b": 0, "c": 0, "d": 0, "pcin": 0, "inmode": 0b00100, "opmode": 0b000000101,
             "alumode": 0}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Registers:
    """Register stages of each input, of pre-adder, multiplier and result (AREG, BREG, ... PREG)."""

    a: int = 1
    b: int = 2
    c: int = 0
    d: int = 1
    ad: int = 1
    m: int = 1
    p: int = 1
    inmode: int = 0
    opmode: int = 1
    alumode: int = 0


def signed(value: int, bits: int) -> int:
    """Read the low ``bits`` bits as two's complement."""
    value &= (1 << bits) - 1
    return value - (value >> (bits - 1) << bits)


def run(
    inputs: Mapping[str, Sequence[int]], registers: Registers, is_ad: bool = True, rnd: int = 0
) -> list[int]:
    """Give P (48 bits, signed) in every cycle; all registers start at 0.

    Args:
        inputs: values of a cycle by name: a (30 bits), b (18), c (48), d (27), pcin (48), inmode,
            opmode, alumode; a name left out keeps the setting of a packed product.
        registers: stages.
        is_ad: the multiplier takes the pre-adder (AMULTSEL "AD"), else A.
        rnd: the constant RND.
    """
    length = max(len(values) for values in inputs.values())
    delayed = {
        name: _delay([*inputs[name]] if name in inputs else [_DEFAULTS[name]] * length, stages)
        for name, stages in (
            ("b", registers.b), ("c", registers.c), ("d", registers.d),
            ("inmode", registers.inmode), ("opmode", registers.opmode),
            ("alumode", registers.alumode), ("a", registers.a),
        )
    }  # fmt: skip
    first_a = _delay(inputs["a"], max(registers.a - 1, 0))
    first_b = _delay(inputs["b"], max(registers.b - 1, 0))
    sums, products = [], []
    for cycle in range(length):
        mode = delayed["inmode"][cycle]
        a = signed((first_a if mode & 1 else delayed["a"])[cycle], 27) * (not mode >> 1 & 1)
        d = signed(delayed["d"][cycle], 27) * (mode >> 2 & 1)
        sums.append(signed(d - a if mode >> 3 & 1 else d + a, 27))
        products.append(a)
    multiplicands = _delay(sums, registers.ad) if is_ad else products
    products = []
    for cycle in range(length):
        b = (first_b if delayed["inmode"][cycle] >> 4 & 1 else delayed["b"])[cycle]
        products.append(multiplicands[cycle] * signed(b, 18))
    products = _delay(products, registers.m)
    p, seen = 0, []
    for cycle in range(length):
        concatenated = (delayed["a"][cycle] & (1 << 30) - 1) << 18
        concatenated |= delayed["b"][cycle] & (1 << 18) - 1
        pcin = signed(inputs["pcin"][cycle], 48) if "pcin" in inputs else 0
        result = _add(
            delayed["opmode"][cycle], delayed["alumode"][cycle], products[cycle], concatenated,
            signed(delayed["c"][cycle], 48), pcin, p, rnd,
        )  # fmt: skip
        seen.append(p if registers.p else result)
        p = result
    return seen


def _delay(values: Sequence[int], stages: int) -> list[int]:
    return [*[0] * stages, *values][: len(values)]


def _add(
    opmode: int, alumode: int, product: int, concatenated: int, c: int, pcin: int, p: int, rnd: int
) -> int:
    """Choose W, X, Y, Z and add them."""
    w = (0, p, rnd, c)[opmode >> 7 & 3]
    x = (0, product, p, concatenated)[opmode & 3]
    y = (0, 0, -1, c)[opmode >> 2 & 3]
    z = (0, pcin, p, c, p, pcin >> 17, p >> 17, p)[opmode >> 4 & 7]
    rest = w + x + y
    return signed((z + rest, ~z + rest, ~(z + rest), z - rest)[alumode], 48)
