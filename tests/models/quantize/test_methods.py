"""Every method through the public call: errors fall, bits are true, files come back, bad data fail.

The values are held by tests/published/test_quantisers.py; here is what holds for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import plait
from plait.errors import FormatError
from plait.models import formats
from plait.models.quantize import QuantizedLinear, QuantizedTensor, quantize, quantize_mixed
from plait.models.quantize.calibrate import as_statistics
from plait.models.quantize.methods import method_names

RNG = np.random.default_rng(5)
WEIGHT = (RNG.standard_normal((48, 64)) * 0.05).astype(np.float32)
INPUTS = RNG.standard_normal((96, 64)) * np.exp(RNG.standard_normal(64))

CASES = {  # method -> format, group, options
    "rtn": ("int4", 16, {}),
    "gptq": ("int4-asym", 16, {}),
    "awq": ("int4-asym", 16, {}),
    "llm-int8": ("int8", "channel", {}),
    "dgq": ("int4-dual", 16, {}),
    "finequant": ("int4", None, {"smallest": 16}),
    "edkm": ("palette3", None, {"rows_per_lut": 16}),
    "two-bit-mix": ("int2-int4", None, {"wide_fraction": 0.25}),
    "vptq": ("vptq-v4-k32-r16", None, {}),
    "aqlm": ("aqlm-2x4-g4", None, {}),
    "pv-tuning": ("aqlm-2x4-g4", None, {}),
    "ternary": ("ternary", None, {}),
    "mx": ("mxfp4", None, {}),
    "nvfp4": ("nvfp4", None, {}),
    "sparse": ("int4", 16, {"kept": 8, "importance": "wanda", "layout": "index"}),
}
CALIBRATED = ("gptq", "awq", "dgq", "two-bit-mix", "vptq", "aqlm", "pv-tuning", "sparse")
ALL = pytest.mark.parametrize("method", CASES)


def run(method: str, weight: np.ndarray = WEIGHT, inputs: np.ndarray = INPUTS) -> QuantizedTensor:
    name, group, options = CASES[method]
    if method in CALIBRATED:
        options = options | {"inputs": inputs}
    return plait.quantize(weight, name, group_size=group, method=method, **options)


def test_every_method_is_here() -> None:
    assert set(CASES) == set(method_names())


@ALL
def test_shape_and_error(method: str) -> None:
    small = run(method)
    assert small.shape == WEIGHT.shape
    values = small.dequantize()
    assert values.shape == WEIGHT.shape
    assert values.dtype == np.float32
    relative = np.square(values - WEIGHT).mean() / np.square(WEIGHT).mean()
    assert relative < {"llm-int8": 1e-3}.get(method, 0.55)


@ALL
def test_true_bits_and_round_trip(method: str, tmp_path: Path) -> None:
    small = run(method)
    small.save(tmp_path / "w.safetensors")
    again = QuantizedTensor.load(tmp_path / "w.safetensors")
    assert (small.dequantize() == again.dequantize()).all()
    assert (small.codes == again.codes).all()
    assert again.bits_per_weight == small.bits_per_weight
    stored = sum(part.nbytes for part in load_file(tmp_path / "w.safetensors").values())
    bits = small.bits_per_weight * WEIGHT.size
    assert 0 <= stored - bits / 8 < 1 + len(small.storage_bits())


@ALL
def test_a_layer_exports_with_its_bits(method: str) -> None:
    small = run(method)
    layer = QuantizedLinear(small)
    x = torch.from_numpy(INPUTS[:3].astype(np.float32))
    assert torch.allclose(layer(x), x @ torch.from_numpy(small.dequantize()).T, atol=1e-5)
    assert layer.bits_per_weight == small.bits_per_weight
    program = torch.export.export(torch.nn.Sequential(layer), (x,))
    assert torch.equal(program.module()(x), layer(x))


@pytest.mark.parametrize("method", ["gptq", "awq", "dgq", "aqlm"])
def test_calibration_lowers_the_output_error(method: str) -> None:
    """Against rounding, or against the codes before the search."""
    seen = as_statistics(INPUTS, 64, "test")
    if method == "aqlm":
        worse = plait.quantize(WEIGHT, "aqlm-2x4-g4", method="aqlm", inputs=INPUTS, sweeps=0)
    else:
        worse = plait.quantize(WEIGHT, "int4-asym", group_size=16)
    errors = [seen.output_mse(t.dequantize() - WEIGHT) for t in (run(method), worse)]
    # DGQ pays for its integer scales what its searches win: no worse is what it is for
    assert errors[0] < errors[1] * (1.15 if method == "dgq" else 0.95)


BAD = {
    "NaN": (np.where(np.arange(64) == 3, np.nan, INPUTS), "not a finite number"),
    "infinite": (np.where(np.arange(64) == 3, np.inf, INPUTS), "not a finite number"),
    "huge": (INPUTS * 1e200, "their squares overflow"),
    "narrow": (INPUTS[:, :32], "of another width"),
    "wide": (np.hstack([INPUTS, INPUTS]), "of another width"),
    "vector": (INPUTS[0], "of another width"),
    "ragged": ([[1.0] * 64, [1.0] * 63], "not a matrix"),
    "words": ([["a"] * 64], "not numbers"),
    "empty": (INPUTS[:0], "no tokens"),
    "zeros": (0 * INPUTS, "all zero"),
    "wide statistics": (as_statistics(np.ones((2, 32)), 32, "test"), "of another width"),
    "NaN statistics": (
        replace(as_statistics(INPUTS, 64, "test"), gram=np.full((64, 64), np.nan)),
        "their squares overflow",
    ),
}
NEEDED = [method for method in CALIBRATED if method != "two-bit-mix"]
UNCALIBRATED = [method for method in CASES if method not in CALIBRATED]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", CALIBRATED)
def test_bad_calibration_is_one_line(method: str, bad: str) -> None:
    inputs, message = BAD[bad]
    with pytest.raises(FormatError, match=message) as caught:
        run(method, inputs=inputs)
    assert f"method {method}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", NEEDED)
def test_no_calibration_is_one_line(method: str) -> None:
    with pytest.raises(FormatError, match=f"needs calibration data.*|method {method}"):
        run(method, inputs=None)


def test_the_mix_without_calibration_goes_by_ranges() -> None:
    assert run("two-bit-mix", inputs=None).notes == (
        "no calibration data: ranges alone chose the 4-bit groups",
    )


@pytest.mark.parametrize("method", UNCALIBRATED)
def test_data_that_a_method_does_not_read_are_refused(method: str) -> None:
    name, group, options = CASES[method]
    with pytest.raises(FormatError, match="option"):
        plait.quantize(WEIGHT, name, group_size=group, method=method, inputs=INPUTS, **options)


def test_pruning_by_magnitude_refuses_data() -> None:
    with pytest.raises(FormatError, match="not read by magnitude"):
        plait.quantize(WEIGHT, "int4", group_size=16, method="sparse", inputs=INPUTS)


@pytest.mark.parametrize("method", CALIBRATED)
def test_odd_calibration_is_reported(method: str) -> None:
    """Silent and constant inputs, fewer tokens than inputs: it works, and says so."""
    odd = INPUTS[:20].copy()
    odd[:, 7], odd[:, 9] = 0, 2.5
    small = run(method, inputs=odd)
    assert np.isfinite(small.dequantize()).all()
    text = " ".join(small.notes)
    assert "1 of 64 inputs are always zero" in text
    assert "1 of 64 inputs are constant" in text
    assert "singular" in text


@pytest.mark.parametrize("method", CALIBRATED)
@pytest.mark.parametrize("tokens", [1, 2])
def test_a_token_or_two_are_enough_to_go_on(method: str, tokens: int) -> None:
    small = run(method, inputs=INPUTS[:tokens])
    assert np.isfinite(small.dequantize()).all()
    assert f"{tokens} tokens for 64 inputs" in " ".join(small.notes)


class Broken(torch.nn.Module):
    """A linear behind something that may spoil its inputs."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(8, 32)
        self.embed.weight.data.mul_(factor)
        self.up = torch.nn.Linear(32, 32)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.up(self.embed(tokens))


@pytest.mark.parametrize(
    ("factor", "tokens", "message"),
    [
        (float("nan"), torch.arange(8), "up.*not finite|not finite.*up"),
        (float("inf"), torch.arange(8), "not finite"),
        (0.0, torch.arange(8), "up.*all zero|all zero.*up"),
        (1.0, torch.zeros(1, 0, dtype=torch.long), "not tokens"),
        (1.0, torch.zeros(2, 4), "not tokens"),
        (1.0, {}, "no statistics"),
    ],
    ids=["NaN", "infinite", "zeros", "no tokens", "floats", "no statistics"],
)
def test_bad_calibration_of_a_module_names_the_layer(
    factor: float, tokens: object, message: str
) -> None:
    module = Broken(factor)
    for call in (
        lambda: plait.quantize(module, "int4-asym", 16, "gptq", inputs=tokens),
        lambda: quantize_mixed(module, 3.5, inputs=tokens, group_size=16),
    ):
        with pytest.raises(FormatError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@ALL
def test_zero_and_extreme_weights(method: str) -> None:
    """Rows of zeros and one huge weight: finite, and zeros stay near zero."""
    weight = WEIGHT.copy()
    weight[16:32] = 0
    weight[0, 0] = 30.0
    values = run(method, weight).dequantize()
    assert np.isfinite(values).all()


@ALL
def test_another_format_is_refused(method: str) -> None:
    wrong = "olive4" if method != "rtn" else "palette3"
    options = {"inputs": INPUTS} if method in CALIBRATED else {}
    with pytest.raises(FormatError):
        quantize(WEIGHT, wrong, method=method, **options)


def test_rounding_names_the_method_of_a_codebook() -> None:
    with pytest.raises(FormatError, match='expected method="vptq"'):
        quantize(WEIGHT, "vptq-v6-k4096")


def test_underscores_are_hyphens() -> None:
    assert quantize(WEIGHT, "int8", method="llm_int8").format is formats.get("int8")


def test_fp16_scales_are_stored_in_16_bits() -> None:
    small = run("gptq")
    assert small.storage_bits()["scales"] == 16 * small.scales.size
    assert (small.scales == small.scales.astype(np.float16)).all()
    assert small.bits_per_weight == 4 + (16 + 4) / 16
