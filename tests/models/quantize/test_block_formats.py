"""MX, NVFP4 and ternary against the reference vectors, whose inputs are formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.models import formats
from plait.models.quantize import QuantizedTensor, quantize

DATA = Path(__file__).parents[2] / "published" / "data" / "quantiser_reference.csv"
CASES = {"R1": (16, 64, 1.7, 0.3, 7, 3), "R2": (16, 128, 0.9, 1.1, 11, 4)}
MX_FORMATS = ("mxfp4", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp8-e4m3", "mxfp8-e5m2", "mxint8")
# The rows give codes and results; these inputs are ours, inside the intervals that they imply.
BLOCKS = {
    "block amax 7.9": [7.9, -6.0, 0.3, 1.2],
    "block amax 4": [4.0, -2.5, 0.25, 0.75],
    "block zero block": [0.0, 0.0],
    "block tiny": [2.0**-130, 0.0],
}


def reference() -> dict[tuple[str, str, str], str]:
    frame = pd.read_csv(DATA, comment="#", dtype=str)
    rows = zip(frame.method, frame.case, frame.quantity, frame.value, strict=True)
    return {(method, case, quantity): value for method, case, quantity, value in rows}


REFERENCE = reference()


def wave(case: str) -> np.ndarray:
    outputs, inputs, a, b, m, r = CASES[case]
    n = np.arange(outputs * inputs)
    flat = 0.05 * np.sin(a * n + b) * np.where(n % m == r, 2.5, 1.0)
    return flat.reshape(outputs, inputs)


def checksum(codes: np.ndarray) -> int:
    flat = codes.reshape(-1).astype(np.int64)
    return int(((np.arange(flat.size) + 1) * flat).sum() % 1000003)


def integers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def mean_squared_error(tensor: QuantizedTensor, weight: np.ndarray) -> float:
    return float(np.mean((tensor.dequantize().astype(np.float64) - weight) ** 2))


def signed(tensor: QuantizedTensor) -> np.ndarray:
    """Two's complement codes as numbers."""
    half = 1 << (tensor.format.code_bits - 1)
    return (tensor.codes.astype(np.int64) ^ half) - half


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MX_FORMATS)
def test_mx(name: str, case: str) -> None:
    weight = wave(case)
    tensor = quantize(weight, name)
    rows = {q: v for (m, c, q), v in REFERENCE.items() if (m, c) == (name.replace("-", "_"), case)}
    codes = signed(tensor) if name == "mxint8" else tensor.codes
    assert rows.keys() >= {"scale_codes_chk", "elem_codes_chk", "w_mse"}
    assert checksum(tensor.scale_codes) == int(rows["scale_codes_chk"])
    assert checksum(codes) == int(rows["elem_codes_chk"])
    assert mean_squared_error(tensor, weight) == pytest.approx(float(rows["w_mse"]), rel=1e-6)
    if name != "mxint8":
        scales = tensor.scale_codes.reshape(-1)[:4].tolist()
        assert scales == integers(rows["scale_codes[0:4]"])
        assert tensor.codes[0, :8].tolist() == integers(rows["elem_codes[0:8]"])


@pytest.mark.parametrize("case", CASES)
def test_nvfp4(case: str) -> None:
    weight = wave(case)
    tensor = quantize(weight, "nvfp4")
    rows = {q: v for (m, c, q), v in REFERENCE.items() if (m, c) == ("nvfp4", case)}
    (tensor_scale,) = tensor.extras["tensor_scale"]
    assert tensor_scale == pytest.approx(float(rows["global scale"]), rel=1e-6)
    assert tensor.scale_codes.reshape(-1)[:4].tolist() == integers(rows["block scale codes[0:4]"])
    assert checksum(tensor.scale_codes) == int(rows["block scale codes_chk"])
    assert tensor.codes[0, :8].tolist() == integers(rows["elem_codes[0:8]"])
    assert checksum(tensor.codes) == int(rows["elem_codes_chk"])
    assert mean_squared_error(tensor, weight) == pytest.approx(float(rows["w_mse"]), rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_ternary(case: str) -> None:
    weight = wave(case)
    tensor = quantize(weight, "ternary")
    rows = {q: v for (m, c, q), v in REFERENCE.items() if (m, c) == ("ternary", case)}
    trits = signed(tensor)
    assert tensor.per_tensor
    assert tensor.scales == pytest.approx(float(rows["absmean"]), rel=1e-6)
    assert trits[0, :16].tolist() == integers(rows["codes[0][0:16]"])
    assert checksum(trits) == int(rows["codes_chk"])
    assert int((trits == 0).sum()) == int(rows["zeros"])
    assert mean_squared_error(tensor, weight) == pytest.approx(float(rows["w_mse"]), rel=1e-6)


@pytest.mark.parametrize("name", ["mxfp4", "mxfp8-e4m3"])
@pytest.mark.parametrize("block", BLOCKS)
def test_single_blocks(name: str, block: str) -> None:
    """Clipping at the end, an exact maximum, zeros, and the smallest numbers."""
    values = np.zeros((1, 32))
    values[0, : len(BLOCKS[block])] = BLOCKS[block]
    tensor = quantize(values, name)
    method = name.replace("-", "_")
    assert tensor.scale_codes.tolist() == [[int(REFERENCE[method, block, "scale_code"])]]
    expected = [float(number) for number in REFERENCE[method, block, "values"].split()]
    results = tensor.dequantize()[0, : len(expected)]
    assert results == pytest.approx(expected, rel=1e-6, abs=0)


@pytest.mark.parametrize(
    ("name", "row"),
    [("mxfp4", "mxfp4"), ("mxfp6-e3m2", "mxfp6"), ("mxfp8-e4m3", "mxfp8"), ("nvfp4", "nvfp4")],
)
@pytest.mark.parametrize(("outputs", "inputs"), [(4096, 4096), (11008, 4096)])
def test_bits_per_weight(name: str, row: str, outputs: int, inputs: int) -> None:
    bits = formats.get(name).bits_per_weight(None, inputs, outputs=outputs)
    expected = float(REFERENCE[row, f"{outputs}x{inputs}", "bits per weight"])
    assert bits == pytest.approx(expected, rel=1e-9)


def test_nvfp4_of_tiny_weights_stays_finite() -> None:
    tensor = quantize(np.full((2, 16), 1e-44), "nvfp4")
    assert np.isfinite(tensor.dequantize()).all()
    assert (tensor.scales > 0).all()


def test_mx_saturates_the_exponent() -> None:
    largest = np.full((1, 32), np.finfo(np.float32).max)
    tensor = quantize(largest, "mxint8")
    assert tensor.scale_codes.tolist() == [[254]]
    assert np.isfinite(tensor.dequantize()).all()
