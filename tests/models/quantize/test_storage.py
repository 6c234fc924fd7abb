"""QuantizedTensor and its files: a round trip for every format, one line for every bad file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from plait.errors import FormatError, PlaitError
from plait.models import formats
from plait.models.quantize import QuantizedTensor, load_tensors, quantize, save_tensors

ARRAYS = ("codes", "scales", "selectors", "zeros", "scale_codes", "channel_steps")
WEIGHTS = (np.random.default_rng(0).standard_normal((7, 101)) * 0.02).astype(np.float32)


def cases() -> list[tuple[str, int | str | None, int | None]]:
    found: list[tuple[str, int | str | None, int | None]] = []
    for name in formats.names():
        fmt = formats.get(name)
        if not fmt.has_table or fmt.signed_zeros:  # test_methods has these
            continue
        sizes = [None] if fmt.group_size or not fmt.is_scaled else [32, "channel", "tensor"]
        found += [(name, size, None) for size in sizes]
        found += [(name, size, 8) for size in sizes if size in (32, "channel")]
    return found


def assert_same(first: QuantizedTensor, second: QuantizedTensor) -> None:
    assert first.format is second.format
    assert (first.group_size, first.per_tensor) == (second.group_size, second.per_tensor)
    for name in ARRAYS:
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype, name
            assert (a == b).all(), name
    assert first.extras.keys() == second.extras.keys()
    assert all((first.extras[k] == second.extras[k]).all() for k in first.extras)


@pytest.mark.parametrize(("name", "group_size", "scale_bits"), cases())
def test_round_trip_and_true_bits(name, group_size, scale_bits, tmp_path: Path) -> None:
    tensor = quantize(WEIGHTS, name, group_size=group_size, scale_bits=scale_bits)
    path = tmp_path / "weight.safetensors"
    tensor.save(path)
    again = QuantizedTensor.load(path)
    assert_same(tensor, again)
    assert (tensor.dequantize() == again.dequantize()).all()

    bits = tensor.format.bits_per_weight(group_size, 101, scale_bits or 32, outputs=7)
    assert tensor.bits_per_weight == pytest.approx(bits, rel=1e-12)
    stored_bytes = sum(array.nbytes for array in load_file(path).values())
    padding_bytes = len(tensor.storage_bits())
    assert 0 <= stored_bytes - sum(tensor.storage_bits().values()) / 8 < padding_bytes


def test_many_tensors(tmp_path: Path) -> None:
    tensors = {
        "layers.0.q": quantize(WEIGHTS, "bitmod4", group_size=32),
        "layers.0.q.inner": quantize(WEIGHTS, "nvfp4"),
        "lm_head": quantize(WEIGHTS, "int8", group_size="channel"),
    }
    save_tensors(tmp_path / "model.safetensors", tensors)
    again = load_tensors(tmp_path / "model.safetensors")
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert_same(tensor, again[name])
    with pytest.raises(FormatError, match="not one tensor, got 3"):
        QuantizedTensor.load(tmp_path / "model.safetensors")


def test_a_name_that_the_header_uses(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no name for a tensor, got 'writer'"):
        save_tensors(tmp_path / "x.safetensors", {"writer": quantize(WEIGHTS, "int4")})


def test_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="cannot be written"):
        quantize(WEIGHTS, "int4").save(tmp_path / "missing" / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


class TestBadFiles:
    """Each gives one line that names the file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "weight.safetensors"
        quantize(WEIGHTS, "ant4-pot4", group_size=32, scale_bits=8).save(path)
        return path

    def refused(self, path: Path, match: str) -> None:
        with pytest.raises(FormatError, match=match) as caught:
            QuantizedTensor.load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def rewrite(self, path: Path, change) -> None:
        """Save the file again with its arrays or header changed."""
        arrays = load_file(path)
        header = {"format": "ant4-pot4", "shape": [7, 101], "group_size": 32, "per_tensor": False}
        change(arrays, header)
        save_file(arrays, path, metadata={"writer": "plait", "weight": json.dumps(header)})

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "none.safetensors", "no such file")

    def test_a_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "not a whole safetensors file")

    @pytest.mark.parametrize("kept", [0, 5, 8, 40, -1])
    def test_cut_short(self, path: Path, kept: int) -> None:
        path.write_bytes(path.read_bytes()[:kept])
        self.refused(path, "not a whole safetensors file")

    @pytest.mark.parametrize("content", [b"PK\x03\x04" + b"\0" * 100, b"GGUF" * 30, b"text\n" * 9])
    def test_another_kind(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.refused(path, "not a whole safetensors file")

    @pytest.mark.parametrize("size", [2**63, 2**40, 10**8])
    def test_absurd_header(self, path: Path, size: int) -> None:
        path.write_bytes(struct.pack("<Q", size) + b"{}")
        self.refused(path, "not a whole safetensors file")

    def test_another_writer(self, path: Path) -> None:
        save_file({"weight": WEIGHTS}, path)
        self.refused(path, "not a file of quantised tensors")

    @pytest.mark.parametrize(
        ("key", "value", "match"),
        [
            ("format", "bitmod5", "unknown format 'bitmod5'"),
            ("format", ["int4"], "unknown format"),
            ("shape", [7], "not the description of a tensor"),
            ("shape", [7, -101], "not the description of a tensor"),
            ("shape", [7.0, 101], "not the description of a tensor"),
            ("shape", [10**12, 10**12], "absurd sizes"),
            ("shape", [7, 1000], "packed codes of the wrong length"),
            ("group_size", 0, "not the description of a tensor"),
            ("group_size", 20, "scale_codes: an array of the wrong kind"),
            ("group_size", 102, "absurd sizes"),
            ("per_tensor", 1, "not the description of a tensor"),
            ("format", "mxfp4", "the format fixes its own groups"),
            ("format", "int4-asym", "an array is missing, got 'zeros'"),
        ],
    )
    def test_header(self, path: Path, key: str, value: object, match: str) -> None:
        def change(arrays: dict, header: dict) -> None:
            header[key] = value
            if match.startswith("the format"):
                header["group_size"] = 16

        self.rewrite(path, change)
        self.refused(path, match)

    @pytest.mark.parametrize(
        ("key", "array", "match"),
        [
            ("codes", np.zeros(354, np.int8), "packed codes: an array of the wrong kind"),
            ("codes", np.full(354, 0x88, np.uint8), "codes: codes without a value"),
            ("selectors", np.full(7, 0xFF, np.uint8), "selectors: no such grid, got 3"),
            ("channel_steps", np.zeros(7, np.float16), "scales that are not positive numbers"),
            ("channel_steps", np.full(7, np.nan, np.float16), "scales that are not positive"),
            ("channel_steps", np.ones(7, np.float32), "channel_steps: an array of the wrong kind"),
            ("scale_codes", np.zeros((7, 3), np.uint8), "scale_codes: an array of the wrong"),
        ],
    )
    def test_arrays(self, path: Path, key: str, array: np.ndarray, match: str) -> None:
        self.rewrite(path, lambda arrays, _: arrays.update({f"weight.{key}": array}))
        self.refused(path, match)

    @pytest.mark.parametrize("key", ["codes", "selectors", "channel_steps"])
    def test_missing_array(self, path: Path, key: str) -> None:
        self.rewrite(path, lambda arrays, _: arrays.pop(f"weight.{key}"))
        self.refused(path, f"weight: an array is missing, got '{key}'")


class TestConstruction:
    def test_shapes_are_checked(self) -> None:
        tensor = quantize(WEIGHTS, "int4", group_size=32)
        with pytest.raises(FormatError, match="scales: an array of the wrong kind"):
            QuantizedTensor(tensor.format, tensor.codes, 32, tensor.scales[:3], tensor.selectors)
        with pytest.raises(FormatError, match="not a group size, got 0"):
            QuantizedTensor(tensor.format, tensor.codes, 0, tensor.scales, tensor.selectors)
        fmt = formats.get("int4-asym")
        with pytest.raises(FormatError, match="zero points belong to asymmetric formats"):
            QuantizedTensor(fmt, tensor.codes, 32, tensor.scales, tensor.selectors)
        with pytest.raises(FormatError, match="codes: not a matrix"):
            QuantizedTensor(tensor.format, tensor.codes[0], 32, tensor.scales, tensor.selectors)

    def test_dequantize_in_parts(self) -> None:
        """More rows than are decoded at once."""
        matrix = np.tile(WEIGHTS, (400, 10))
        tensor = quantize(matrix, "bitmod4", group_size=101)
        few = quantize(WEIGHTS, "bitmod4", group_size=101)
        assert (tensor.dequantize() == np.tile(few.dequantize(), (400, 10))).all()
