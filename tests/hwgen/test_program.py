"""Descriptors: encode and decode are inverse, and every malformed one is named in one line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.hwgen.bit_serial.layout import Geometry, Shape
from plait.hwgen.bit_serial.program import FIELDS, Descriptor, decode, disassemble, encode

sizes = st.integers(1, 1 << 20)
geometries = st.builds(
    Geometry,
    rows=st.sampled_from([1, 3, 8, 64]),
    columns=st.sampled_from([1, 4, 5, 32]),
    lanes=st.sampled_from([1, 3, 4, 8]),
    port_bits=st.sampled_from([256, 320, 512]),
)


@st.composite
def descriptors(draw: st.DrawFn) -> Descriptor:
    geometry = draw(geometries)
    shape = Shape(
        geometry,
        tokens=draw(sizes),
        outputs=draw(st.integers(1, 5000)),
        inputs=draw(st.integers(1, 5000)),
        group_size=geometry.lanes * draw(st.integers(1, 200)),
        code_bits=draw(st.integers(2, 8)),
    )
    return Descriptor.plan(
        shape,
        format_index=draw(st.integers(0, 15)),
        int8_activations=draw(st.booleans()),
        weight_address=draw(sizes),
        activation_address=draw(sizes),
        result_address=draw(sizes),
        last=False,
    )


@given(st.lists(descriptors(), min_size=1, max_size=3), st.sampled_from([32, 40, 64]))
def test_round_trip(program: list[Descriptor], port_bytes: int) -> None:
    program[-1] = dataclasses.replace(program[-1], last=True)
    assert decode(encode(program, port_bytes)) == program
    assert disassemble(program).count("multiply") == len(program)


def test_fields_neither_overlap_nor_leave_the_descriptor() -> None:
    taken = np.zeros((2, 256), int)
    for field in FIELDS.values():
        taken[field.word, field.low : field.low + field.bits] += 1
    assert taken.max() == 1
    assert {f.name for f in dataclasses.fields(Descriptor)} == set(FIELDS)


def example(**changes: object) -> Descriptor:
    shape = Shape(Geometry(8, 4, 4, 256), 4, 8, 64, group_size=64, code_bits=4)
    planned = Descriptor.plan(
        shape,
        format_index=0,
        int8_activations=False,
        weight_address=2,
        activation_address=40,
        result_address=80,
    )
    return dataclasses.replace(planned, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokens": 0}, "descriptor.tokens: is zero"),
        ({"weight_words": 0}, "descriptor.weight_words: is zero"),
        ({"inputs": 1 << 32}, "descriptor.inputs: does not fit"),
        ({"format_index": 16}, "descriptor.format_index: does not fit"),
        ({"weight_address": -1}, "descriptor.weight_address: does not fit"),
        ({"magic": 0x51}, "descriptor.magic: not a descriptor"),
    ],
)
def test_malformed_fields_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        example(**changes)


def test_malformed_words_are_named() -> None:
    good = encode([example()], 32)
    with pytest.raises(SpecError, match=r"descriptor 1.*marked as the last"):
        decode(encode([example(last=False)], 32))
    broken = good.copy()
    broken[0, 3] = 0
    with pytest.raises(SpecError, match=r"descriptor 0.*descriptor.magic.*got '0x0'"):
        decode(broken)
    broken = good.copy()
    broken[0, 2] = 1
    with pytest.raises(SpecError, match="bits outside every field are set in word 0"):
        decode(broken)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokens": 0}, "tokens: does not fit the descriptor, got 0"),
        ({"outputs": 1 << 32}, "outputs: does not fit the descriptor"),
        ({"group_size": 66}, "group_size: a group must be whole steps.*4 lanes"),
    ],
)
def test_shapes_that_do_not_fit(changes: dict[str, int], named: str) -> None:
    sizes = {"tokens": 4, "outputs": 8, "inputs": 64, "group_size": 64, "code_bits": 4}
    with pytest.raises(SpecError, match=named):
        Shape(Geometry(8, 4, 4, 256), **{**sizes, **changes})


def test_a_block_beyond_the_port_is_refused() -> None:
    shape = Shape(Geometry(8, 4, 4, 256), 4, 8, 64, group_size=64, code_bits=4)
    with pytest.raises(SpecError, match=r"descriptor.result_address: the block ends beyond"):
        Descriptor.plan(
            shape,
            format_index=0,
            int8_activations=False,
            weight_address=2,
            activation_address=40,
            result_address=(1 << 32) - 1,
        )


def test_a_narrow_port_is_refused() -> None:
    with pytest.raises(SpecError, match=r"dram.port_bits_per_cycle.*got 128"):
        Geometry(8, 4, 4, 128)
