"""Bench of plait_bs_array: tiles back to back and with bubbles, every format, both modes."""

from __future__ import annotations

import cocotb
import numpy as np
from harness import packed, parameter, play, start, unpacked
from stimulus import FORMATS, fp16_numbers, int8_numbers, random_codes

from plait.models.formats import Format
from plait.models.golden import bit_serial as golden

ROWS, COLUMNS, LANES = parameter("Rows", 8), parameter("Columns", 4), parameter("Lanes", 4)
ACCUMULATOR, GUARD = parameter("AccumulatorBits", 15), parameter("GuardBits", 3)
OUTPUT, SCALE = parameter("OutputAccumulatorBits", 32), parameter("ScaleBits", 8)
INTEGER = parameter("Integer", 1)
WIDTH = max(OUTPUT, golden.INTEGER_OUTPUT_BITS if INTEGER else 0)
LATENCY = SCALE + 5


def _tile_sums(is_int8, numbers, codes, selectors, scales, fmt, sizes):
    """(mantissa, exponent) [rows, columns] of one tile whose groups have `sizes` inputs."""
    groups, start_of = [], 0
    for group, size in enumerate(sizes):
        part = slice(start_of, start_of + size)
        start_of += size
        if is_int8:
            mantissa = golden.group_sum_int8(
                numbers[:, part], codes[:, part], selectors[:, group], fmt.terms()
            )
            exponent = np.zeros_like(mantissa)
        else:
            mantissa, exponent = golden.group_sum(
                numbers[:, part],
                codes[:, part],
                selectors[:, group],
                fmt.terms(),
                lanes=LANES,
                guard_bits=GUARD,
                accumulator_bits=ACCUMULATOR,
            )
        groups.append((golden.dequantise(mantissa, scales[:, group, np.newaxis], SCALE), exponent))
    if is_int8:
        return sum(mantissa for mantissa, _ in groups), groups[0][1]
    return golden.output_sum(groups, OUTPUT)


class Player:
    """Collects the cycles of the array's inputs and the results to expect, with their cycle."""

    def __init__(self, rng: np.random.Generator, is_int8: bool, idle: float) -> None:
        self.rng, self.is_int8, self.idle = rng, is_int8, idle
        self.cycles: list[dict[str, int]] = []
        self.expected: dict[int, tuple[list[int], list[int]]] = {}
        self._last_end = -SCALE

    def tile(self, index: int, fmt: Format, steps_of_groups: list[int]) -> None:
        rng, sizes = self.rng, [steps * LANES for steps in steps_of_groups]
        codes = random_codes(rng, fmt, (ROWS, sum(sizes)))
        selectors = rng.integers(0, fmt.selectors, (ROWS, len(sizes)))
        scales = rng.integers(0, 1 << SCALE, (ROWS, len(sizes)))
        shape = (COLUMNS, sum(sizes))
        numbers = int8_numbers(rng, shape) if self.is_int8 else fp16_numbers(rng, shape)
        bits = numbers.view(np.uint8 if self.is_int8 else np.uint16)
        step = 0
        for group, steps in enumerate(steps_of_groups):
            for step_of_group in range(steps):
                part = slice(step * LANES, (step + 1) * LANES)
                step += 1
                for term in range(fmt.term_count):
                    ends = step_of_group == steps - 1 and term == fmt.term_count - 1
                    self._pause(ends)
                    self.cycles.append(
                        {
                            "term_valid_i": 1,
                            "format_i": index,
                            "term_index_i": term,
                            "group_first_i": int(step_of_group == 0 and term == 0),
                            "group_last_i": int(ends),
                            "tile_first_i": int(group == 0),
                            "tile_last_i": int(group == len(sizes) - 1),
                            "weight_codes_i": packed(codes[:, part].ravel(), 8),
                            "selectors_i": packed(selectors[:, group], 2),
                            "scales_i": packed(scales[:, group], SCALE),
                            "activations_i": packed(bits[:, part].ravel(), 16),
                        }
                    )
        mantissa, exponent = _tile_sums(self.is_int8, numbers, codes, selectors, scales, fmt, sizes)
        at = len(self.cycles) - 1 + LATENCY
        self.expected[at] = (mantissa.T.ravel().tolist(), exponent.T.ravel().tolist())

    def _pause(self, ends: bool) -> None:
        """Bubbles at random, and as many as the dequantiser needs before a group ends."""
        while self.rng.random() < self.idle or (ends and len(self.cycles) < self._last_end + SCALE):
            bubble = dict(self.cycles[-1]) if self.cycles else {}
            self.cycles.append({**bubble, "term_valid_i": 0})
        if ends:
            self._last_end = len(self.cycles)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(is_int8=[False, True], idle=[0.0, 0.5])
async def tiles(dut, is_int8: bool, idle: float) -> None:
    if is_int8 and not INTEGER:
        return
    dut.term_valid_i.value = 0
    await start(dut)
    for index, fmt in enumerate(FORMATS):  # the format only changes while nothing is in flight
        player = Player(np.random.default_rng([index, is_int8]), is_int8, 0.0)
        player.tile(index, fmt, [1])
        player.idle = idle
        for steps_of_groups in ([4, 4], [1, 1, 2], [6], [3, 1]):
            player.tile(index, fmt, steps_of_groups)
        names = list(player.cycles[0])
        inputs = {name: [cycle[name] for cycle in player.cycles] for name in names}
        inputs["term_valid_i"] = [*inputs["term_valid_i"], 0]
        inputs["activation_int8_i"] = [int(is_int8)]
        outputs = ["result_valid_o", "result_mantissas_o", "result_exponents_o"]
        seen = await play(dut, inputs, outputs, extra=LATENCY + 2)
        valid = [cycle for cycle, value in enumerate(seen["result_valid_o"]) if value]
        assert valid == list(player.expected)  # the cycle of every result
        for cycle, (mantissas, exponents) in player.expected.items():
            count = ROWS * COLUMNS
            got = unpacked(seen["result_mantissas_o"][cycle], WIDTH, count, signed=True)
            assert got == mantissas, (fmt.name, cycle)
            assert unpacked(seen["result_exponents_o"][cycle], 6, count) == exponents
