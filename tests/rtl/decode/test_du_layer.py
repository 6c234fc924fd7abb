"""A layer of SmolLM2 through the decode units: golden model exact, Verilog equal to it."""

from __future__ import annotations

import numpy as np
import pytest
from du_layer import dual_case, layer, palette_case, ternary_case
from du_sources import up_to
from harness import simulate

from plait.models.golden import decode_units as unit
from plait.models.quantize import ternary

pytestmark = pytest.mark.model

_BITS = 28


def test_ternary_sums_are_exact():
    weight, embedding, norm = layer()
    case, tensor = ternary_case(tokens=8)
    bits = unit.trit_sum_bits(tensor.shape[1])
    sums = unit.trit_sums(case["codes"], tensor.shape, case["activations"], bits)
    assert (sums == ternary.linear(embedding[:8], weight, norm)[1]).all()
    assert np.abs(sums).max() < 1 << (bits - 1)


def test_dual_grained_sums_are_exact():
    case, tensor = dual_case(tokens=8)
    weights = unit.expanded_weights(case["codes"], case["zeros"], case["scales"], tensor.shape)
    steps = tensor.channel_steps.astype(np.float64)[:, np.newaxis]
    assert (weights == np.rint(tensor.dequantize() / steps)).all()
    sums = unit.expanded_sums(weights, case["activations"], _BITS)
    assert (sums == case["activations"] @ weights.T).all()


def test_palette_values_are_exact():
    case, tensor = palette_case()
    bits = unit.palette_values(case["codes"], case["luts"], 3, tensor.shape)
    assert (bits.view(np.float16).astype(np.float32) == tensor.dequantize()).all()


@pytest.mark.rtl
@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "make", "parameters"),
    [
        ("trit_tree", ternary_case, {"Trees": 4, "Inputs": 64, "AccumulatorBits": 18}),
        ("expander", dual_case, {"WeightsPerCycle": 32}),
        ("expander_dot", dual_case, {"WeightsPerCycle": 64, "AccumulatorBits": _BITS}),
        ("lookup_table", palette_case, {"Entries": 8, "WeightsPerCycle": 32}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verilog_equals_golden(module, make, parameters, tmp_path):
    path = tmp_path / "case.npz"
    np.savez(path, **make()[0])
    top = f"plait_du_{module}"
    simulate(
        top,
        f"cocotb_du_{module}",
        tmp_path / "build",
        sources=up_to(top),
        seeds=(1,),
        environment={"CASE": str(path)},
        **parameters,
    )
