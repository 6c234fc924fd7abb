"""Bench of plait_bs_pe: all pairs of codes of the 3- and 4-bit formats, long groups, bubbles."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import as_signed, packed, parameter, play, start_clock
from stimulus import FORMATS, fp16_numbers, int8_numbers, random_codes

from plait.models.formats import Format
from plait.models.golden import bit_serial as golden

LANES = parameter("Lanes", 4)
ACCUMULATOR, GUARD = parameter("AccumulatorBits", 15), parameter("GuardBits", 3)
INTEGER = parameter("Integer", 1)
WIDTH = max(ACCUMULATOR, golden.INTEGER_ACCUMULATOR_BITS if INTEGER else 0)
LATENCY = 3


class Stream:
    """Cycles of operands, and what the accumulator holds LATENCY cycles after each."""

    def __init__(self, is_int8: bool) -> None:
        self.is_int8 = is_int8
        self.operands: list[dict[str, int]] = []
        self.marks: list[tuple[int, int, int]] = []  # accumulate, first, shift
        self.expected: list[tuple[int, int] | None] = []
        self._held: tuple[np.ndarray, np.ndarray] = (np.zeros((), int), np.zeros((), int))

    def bubble(self) -> None:
        """A cycle that does not count, with the operands of the one before."""
        self.operands.append(self.operands[-1] if self.operands else {})
        self.marks.append((0, 0, 0))
        self.expected.append(self.expected[-1] if self.expected else None)

    def step(self, fmt: Format, selector: int, codes: np.ndarray, numbers: np.ndarray, first: bool):
        """All terms of one step."""
        terms = fmt.terms()
        if self.is_int8:
            sign, exponent, mantissa = (
                numbers < 0,
                0 * numbers.astype(int),
                abs(numbers.astype(int)),
            )
        else:
            sign, exponent, mantissa = golden.split_fp16(numbers)
        for term in range(terms.count):
            weight = [
                f[selector, codes, term].astype(int) for f in (terms.sign, terms.man, terms.exp)
            ]
            self.operands.append(
                {
                    "term_signs_i": packed(weight[0], 1),
                    "term_mans_i": packed(weight[1], 1),
                    "term_exponents_i": packed(weight[2], 3),
                    "activation_signs_i": packed(sign, 1),
                    "activation_exponents_i": packed(exponent, 5),
                    "activation_mantissas_i": packed(mantissa << (3 if self.is_int8 else 0), 11),
                }
            )
            starts, shift = first and term == 0, int(terms.shift[term])
            self.marks.append((1, int(starts), shift))
            if starts:
                self._held = (np.zeros((), int), np.zeros((), int))
            self._held = self._next(weight, sign, exponent, mantissa, shift)
            self.expected.append((int(self._held[0]), int(self._held[1])))

    def _next(self, weight, sign, exponent, mantissa, shift):
        signs = sign ^ (weight[0] == 1) if self.is_int8 else sign ^ weight[0]
        if self.is_int8:
            products = np.where(signs, -1, 1) * ((mantissa * weight[1]) << weight[2])
            return self._held[0] + (products.sum() << shift), self._held[1]
        largest, shifts = golden.align(exponent, weight[2])
        products = golden.multiply(mantissa, weight[1], signs, shifts, GUARD)
        return golden.accumulate(self._held, products.sum(), largest, shift, ACCUMULATOR)

    async def check(self, dut) -> None:
        names = list(self.operands[0])
        inputs = {name: [cycle[name] for cycle in self.operands] for name in names}
        inputs["is_int8_i"] = [int(self.is_int8)]
        delayed = [(0, 0, 0)] * 2 + self.marks
        for index, name in enumerate(("accumulate_i", "first_i", "term_shift_i")):
            inputs[name] = [mark[index] for mark in delayed]
        seen = await play(dut, inputs, ["mantissa_o", "exponent_o"], extra=2)
        got = [
            (as_signed(mantissa, WIDTH), exponent)
            for mantissa, exponent in zip(
                seen["mantissa_o"][LATENCY:], seen["exponent_o"][LATENCY:], strict=True
            )
        ]
        pairs = list(zip(self.expected, got, strict=False))
        assert [pair[1] for pair in pairs if pair[0]] == [pair[0] for pair in pairs if pair[0]]


def _activations(rng: np.random.Generator, is_int8: bool, shape: tuple[int, ...]) -> np.ndarray:
    return int8_numbers(rng, shape) if is_int8 else fp16_numbers(rng, shape)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(is_int8=[False, True])
async def all_pairs_of_codes(dut, is_int8: bool) -> None:
    if is_int8 and not INTEGER:
        return
    rng, stream = np.random.default_rng(1), Stream(is_int8)
    for fmt in FORMATS:
        if fmt.code_bits > 4:
            continue
        for selector in range(fmt.selectors):
            for pair in np.ndindex(1 << fmt.code_bits, 1 << fmt.code_bits):
                codes = random_codes(rng, fmt, (max(LANES, 2),))
                codes[:2] = pair
                numbers = _activations(rng, is_int8, (LANES,))
                stream.step(fmt, selector, codes[:LANES], numbers, first=True)
    await start_clock(dut)
    await stream.check(dut)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(is_int8=[False, True], idle=[0.0, 0.5])
async def long_groups(dut, is_int8: bool, idle: float) -> None:
    if is_int8 and not INTEGER:
        return
    rng, stream = np.random.default_rng(2), Stream(is_int8)
    for fmt in FORMATS:
        for group in range(4):
            selector = int(rng.integers(fmt.selectors))
            for step in range(12):
                codes = random_codes(rng, fmt, (LANES,))
                numbers = _activations(rng, is_int8, (LANES,))
                if group == 0:  # all of one sign and as large as it gets: the mantissa grows
                    codes[:] = int(np.nanargmax(fmt.table[selector]))
                    numbers[:] = 127 if is_int8 else 65504
                stream.step(fmt, selector, codes, numbers, first=step == 0)
                while rng.random() < idle:
                    stream.bubble()
    await start_clock(dut)
    await stream.check(dut)
