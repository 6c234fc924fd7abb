"""Every method of quantising on every family: array -> file -> QuantizedLinear -> torch.export ->
graph -> simulation, or the one line that says which unit the machine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import plait
from plait.errors import SpecError
from plait.models import formats
from plait.models.graph import Graph, Op
from plait.models.graph.export import export_module
from plait.models.quantize import QuantizedLinear, QuantizedTensor
from plait.models.quantize.methods import method_names
from plait.models.quantize.storage import load_tensors, save_tensors

pytestmark = pytest.mark.slow  # a dozen seconds together, most of them compiling search kernels

OUTPUTS, INPUTS = 64, 128


class Case(NamedTuple):
    format: str
    group_size: int | str | None = None
    is_calibrated: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012 - a NamedTuple's default, never written to


CASES = {
    "rtn": Case("int4", 64),
    "gptq": Case("int4-asym", 64, True),
    "awq": Case("int4-asym", 64, True),
    "llm-int8": Case("int8-outlier", "channel"),
    "dgq": Case("int4-dual", 64, True),
    "finequant": Case("int4", None, options={"smallest": 64}),
    "edkm": Case("palette3"),
    "two-bit-mix": Case("int2-int4", None, True),
    "vptq": Case("vptq-v4-k32-r16", None, True),
    "aqlm": Case("aqlm-2x4-g8", None, True, {"sweeps": 1}),
    "pv-tuning": Case("aqlm-2x4-g8", None, True, {"sweeps": 1}),
    "ternary": Case("ternary"),
    "mx": Case("mxfp4"),
    "nvfp4": Case("nvfp4"),
    "sparse": Case("int4", 64, True, {"kept": 8, "importance": "wanda"}),
}
UNIT = {
    "llm-int8": "outlier_path",
    "dgq": "expander",
    "edkm": "lookup_table",
    "two-bit-mix": "outlier_path",
    "vptq": "codebook",
    "aqlm": "codebook",
    "pv-tuning": "codebook",
}
IN_INT8 = ("llm-int8", "dgq")  # what units hand to an array of integers
METHODS = pytest.mark.parametrize("method", CASES)


class Layers(nn.Module):
    """One linear a method; each gives the same number of outputs, which are added up."""

    def __init__(self, tensors: dict[str, QuantizedTensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({n: QuantizedLinear(t) for n, t in tensors.items()})

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, inputs) to (batch, tokens, outputs)."""
        return torch.stack([layer(inputs) for layer in self.layers.values()]).sum(dim=0)


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, QuantizedTensor]:
    """Quantised by every method, written to one file and read again."""
    random = np.random.default_rng(11)
    weight = (random.standard_normal((OUTPUTS, INPUTS)) * 0.05).astype(np.float32)
    seen = random.standard_normal((96, INPUTS))
    made = {}
    for method, case in CASES.items():
        options = case.options | ({"inputs": seen} if case.is_calibrated else {})
        made[method] = plait.quantize(weight, case.format, case.group_size, method, **options)
    path: Path = tmp_path_factory.mktemp("methods") / "weights.safetensors"
    save_tensors(path, made)
    again = load_tensors(path)
    assert all((again[m].dequantize() == made[m].dequantize()).all() for m in CASES)
    return again


@pytest.fixture(scope="module")
def ops(tensors: dict[str, QuantizedTensor]) -> dict[str, Op]:
    """The linear of each method as the exported graph has it."""
    module = Layers(tensors)
    inputs = torch.zeros(101, 211, INPUTS)
    graph = export_module(module, (inputs,), name="methods")
    return {op.path.rpartition(".")[2]: op for op in graph.ops if op.kind == "linear"}


def step(op: Op, activation: str = "int8") -> Any:
    """A linear and an attention, which offloading wants, in decode."""
    attention = Op("attention", "attention", heads=4, kv_heads=2, head_dim=32, width=128)
    return Graph("layer", (op, attention)).bind("decode", 1, 64, {"activation": activation})


def test_every_method_is_here() -> None:
    assert set(CASES) == set(method_names())


@METHODS
def test_values_and_bits_survive_the_way(
    method: str, tensors: dict[str, QuantizedTensor], ops: dict[str, Op]
) -> None:
    tensor, op = tensors[method], ops[method]
    layer = QuantizedLinear(tensor)
    inputs = torch.eye(INPUTS)
    assert np.array_equal(layer(inputs).numpy(), tensor.dequantize().T)
    assert op.weight_format == tensor.format.name
    assert op.weight_bits == tensor.bits_per_weight
    assert formats.get(op.weight_format).decode_unit == UNIT.get(
        method, "trit_tree" if method == "ternary" else None
    )


@METHODS
def test_bits_counted_are_bytes_moved(
    method: str, tensors: dict[str, QuantizedTensor], ops: dict[str, Op]
) -> None:
    stored = sum(tensors[method].storage_bits().values()) / 8
    row = plait.simulate(step(ops[method]), "h100").table.iloc[0]
    assert row["weight_bytes"] == pytest.approx(stored, rel=1e-12)


@METHODS
@pytest.mark.parametrize("name", ["h100", "lamina-h100-h20"])
def test_gpus_run_every_method(method: str, name: str, ops: dict[str, Op]) -> None:
    assert plait.simulate(step(ops[method], "fp16"), name).seconds > 0


@METHODS
@pytest.mark.parametrize(
    "name", ["fp16-baseline", "bitmod-lossy", "systolic-128", "flightllm-u280"]
)
def test_published_machines_run_it_or_name_the_unit(
    method: str, name: str, ops: dict[str, Op]
) -> None:
    if method not in UNIT:
        assert plait.simulate(step(ops[method]), name).seconds > 0
        return
    with pytest.raises(SpecError) as caught:
        plait.simulate(step(ops[method]), name)
    assert f"{name}: decode_units.{UNIT[method]}: the machine has no such unit" in str(caught.value)


@pytest.mark.parametrize("method", UNIT)
def test_a_machine_with_the_unit_runs_it(method: str, ops: dict[str, Op]) -> None:
    name = "int8-decoder" if method in IN_INT8 else "fp16-decoder"
    report = plait.simulate(step(ops[method]), name)
    assert report.totals["decode"]["busy_cycles"] > 0
    assert report.totals["decode"]["energy_pj"] > 0
    assert sum(report.totals["rungs"].values()) == report.cycles


@pytest.mark.parametrize("method", UNIT)
def test_bit_serial_and_dsp_arrays_take_integers_only(method: str, ops: dict[str, Op]) -> None:
    units = dict(plait.load_accelerator("fp16-decoder").decode_units)
    units |= {"expander": plait.load_accelerator("int8-decoder").decode_units.expander}
    for name in ("bitmod-lossy", "flightllm-u280"):
        here = plait.load_accelerator(name).with_(decode_units=units)
        if method in IN_INT8:
            assert plait.simulate(step(ops[method]), here).totals["decode"]["busy_cycles"] > 0
            continue
        with pytest.raises(SpecError, match="the array takes no FP16 values"):
            plait.simulate(step(ops[method]), here)


def test_trits_go_to_the_trees_that_are_there(ops: dict[str, Op]) -> None:
    report = plait.simulate(step(ops["ternary"]), "matmul-free-fpga")
    assert report.totals["decode"]["busy_cycles"] == 1 * 2 + 2  # 64 trees, 128 inputs in two beats
