"""The term decoder's table and package: what the formats say, and what is committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plait.errors import FormatError
from plait.hwgen.bit_serial.decode_table import decode_table
from plait.hwgen.bit_serial.package import bit_serial_package
from plait.models import formats

_COMMITTED = Path(__file__).resolve().parents[2] / "rtl" / "bit_serial" / "plait_bs_pkg.sv"


def test_the_committed_package_is_what_the_generator_writes():
    assert _COMMITTED.read_text() == bit_serial_package()


@pytest.mark.parametrize("names", [["bitmod3"], ["ternary", "int8"], ["fp6-e3m2", "ant4", "int3"]])
def test_every_entry_is_that_of_the_format(names):
    table = decode_table(names)
    for block in table.blocks:
        terms = formats.get(block.format.name).terms()
        for selector, code, term in np.ndindex(terms.sign.shape):
            address = block.base | (selector << block.term_bits | term) << block.code_bits | code
            got = [int(field[address]) for field in (table.sign, table.man, table.exponent)]
            expected = [int(f[selector, code, term]) for f in (terms.sign, terms.man, terms.exp)]
            assert got == expected
        assert block.base % (1 << block.address_bits) == 0


def test_formats_without_a_decoder_are_refused():
    for name, why in (("olive4", "neighbour"), ("fp8-e4m3", "range"), ("mxfp4", "range")):
        with pytest.raises(FormatError, match=why):
            decode_table([name])
    with pytest.raises(FormatError, match="different formats"):
        decode_table(["int4", "int4"])
