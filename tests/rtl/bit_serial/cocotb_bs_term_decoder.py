"""Bench of plait_bs_term_decoder: every code, grid and term of every format."""

from __future__ import annotations

import itertools

import cocotb
from harness import evaluate, packed, parameter, unpacked
from stimulus import FORMATS

LANES = parameter("Lanes", 4)


@cocotb.test()
async def gives_the_terms_of_the_formats(dut) -> None:
    rows, expected = [], []
    for index, fmt in enumerate(FORMATS):
        terms = fmt.terms()
        for selector, term in itertools.product(range(fmt.selectors), range(terms.count)):
            for first in range(0, 1 << fmt.code_bits, LANES):
                codes = [(first + lane) % (1 << fmt.code_bits) for lane in range(LANES)]
                rows.append((index, selector, term, packed(codes, 8)))
                expected.append(
                    [
                        tuple(int(field[selector, code, term]) for code in codes)
                        for field in (terms.sign, terms.man, terms.exp)
                    ]
                )
    names = ["format_i", "selector_i", "term_index_i", "codes_i"]
    inputs = dict(zip(names, zip(*rows, strict=True), strict=True))
    outputs = {"term_sign_o": 1, "term_man_o": 1, "term_exponent_o": 3}
    seen = await evaluate(dut, inputs, list(outputs))
    for field, (name, width) in enumerate(outputs.items()):
        got = [tuple(unpacked(word, width, LANES)) for word in seen[name]]
        assert got == [row[field] for row in expected], name
