"""Memory images: every layout has its inverse, and one hand-made example fixes the bits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.hwgen.bit_serial import memory_image
from plait.hwgen.bit_serial.layout import Geometry, Shape
from plait.hwgen.mem_file import mem_text, read_mem
from plait.models import formats

shapes = st.builds(
    lambda geometry, tokens, outputs, inputs, steps, bits: Shape(
        geometry, tokens, outputs, inputs, steps * geometry.lanes, bits
    ),
    st.builds(
        Geometry,
        rows=st.sampled_from([1, 3, 8, 33, 64, 100]),
        columns=st.sampled_from([1, 2, 4, 5, 32]),
        lanes=st.sampled_from([1, 3, 4]),
        port_bits=st.sampled_from([256, 320, 512]),
    ),
    st.integers(1, 9),
    st.integers(1, 150),
    st.integers(1, 60),
    st.integers(1, 8),
    st.integers(2, 8),
)


def tensor(shape: Shape, seed: int) -> SimpleNamespace:
    """A quantised matrix with every field drawn at random, in a format of as many bits."""
    rng = np.random.default_rng(seed)
    grouped = (shape.outputs, shape.groups)
    return SimpleNamespace(
        format=formats.get(f"int{shape.code_bits}"),
        codes=rng.integers(0, 1 << shape.code_bits, (shape.outputs, shape.inputs), np.uint8),
        selectors=rng.integers(0, 4, grouped, np.uint8),
        scale_codes=rng.integers(1, 256, grouped, np.uint8),
        channel_steps=rng.uniform(1e-3, 1, shape.outputs).astype(np.float16),
        zeros=None,
    )


@settings(deadline=None)
@given(shapes, st.integers(0, 99))
def test_weights_come_back(shape: Shape, seed: int) -> None:
    given_ = tensor(shape, seed)
    image = memory_image.weight_image(given_, shape)
    assert image.shape == (shape.weight_words, shape.geometry.port_bytes)
    back = memory_image.read_weights(image, shape)
    for name in ("codes", "selectors", "scale_codes", "channel_steps"):
        assert np.array_equal(getattr(back, name), getattr(given_, name)), name


@settings(deadline=None)
@given(shapes, st.integers(0, 99), st.sampled_from([np.float16, np.int8]))
def test_activations_come_back(shape: Shape, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, (shape.tokens, shape.inputs)).astype(dtype)
    image = memory_image.activation_image(values, shape)
    assert image.shape == (shape.all_activation_words, shape.geometry.port_bytes)
    back = memory_image.read_activations(image, shape, dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, values)


@settings(deadline=None)
@given(shapes, st.integers(0, 99))
def test_results_come_back(shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((shape.tokens, shape.outputs)).astype(np.float32)
    image = memory_image.result_image(values, shape)
    assert image.shape == (shape.all_result_words, shape.geometry.port_bytes)
    assert np.array_equal(memory_image.read_results(image, shape), values)


def test_bits_of_a_small_example() -> None:
    """Two rows, two lanes, one group of one step: plane b is bit b of the codes, row-major."""
    shape = Shape(Geometry(2, 1, 2, 256), 1, 2, 2, group_size=2, code_bits=3)
    example = SimpleNamespace(
        format=formats.get("int3"),
        codes=np.array([[1, 2], [3, 7]], np.uint8),
        selectors=np.array([[2], [1]], np.uint8),
        scale_codes=np.array([[0x11], [0x22]], np.uint8),
        channel_steps=np.array([1.0, 2.0], np.float16),
        zeros=None,
    )
    words = memory_image.weight_image(example, shape)
    planes = 0b1101 | 0b1110 << 4 | 0b1000 << 8  # bits 0, 1, 2 of the codes 1, 2, 3, 7
    expected = [0x4000_3C00, 0x0122_0211, planes]
    assert [int.from_bytes(word.tobytes(), "little") for word in words] == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_activations_that_are_no_numbers(value: float) -> None:
    shape = Shape(Geometry(8, 4, 4, 256), 3, 8, 40, group_size=8, code_bits=4)
    activations = np.zeros((3, 40), np.float16)
    activations[2, 7] = value
    with pytest.raises(SpecError, match="inputs: token 2, input 7: not a finite number"):
        memory_image.activation_image(activations, shape)
    with pytest.raises(SpecError, match=r"got 'float64'.*float16 or int8"):
        memory_image.activation_image(np.zeros((3, 40)), shape)


def test_an_image_of_another_size_is_refused() -> None:
    shape = Shape(Geometry(8, 4, 4, 256), 1, 8, 8, group_size=8, code_bits=4)
    with pytest.raises(SpecError, match="results: the memory image has another size"):
        memory_image.read_results(np.zeros((3, 32), np.uint8), shape)


def test_memory_files_come_back(tmp_path) -> None:
    rng = np.random.default_rng(0)
    blocks = {
        0: rng.integers(0, 256, (3, 32), np.uint8),
        64: rng.integers(0, 256, (1, 32), np.uint8),
    }
    path = tmp_path / "image.mem"
    path.write_text("// a comment\n" + mem_text(blocks))
    back = read_mem(path, 32)
    assert back.keys() == blocks.keys()
    assert all(np.array_equal(back[at], blocks[at]) for at in blocks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@0\n1234\n", r"a.mem:2: not a word of the memory port, got '1234', expected 16"),
        ("@zz\n", r"a.mem:1: not a hexadecimal number"),
        ("0123456789abcdeg\n", r"a.mem:1: not a hexadecimal number"),
        ("0123456789abcdef\n@0\n0123456789abcdef\n", "overlap at address 0x0"),
        ("0123456789abcdef\n0123456789abcdef\n@1\n0123456789abcdef\n", "overlap at address 0x1"),
    ],
)
def test_malformed_memory_files(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "a.mem"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_mem(path, 8)
