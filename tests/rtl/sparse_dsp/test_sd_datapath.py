"""The DSP chains: the primitive's model, then DSP, multiplexer, chain and array, each alone."""

from pathlib import Path

import pytest
from harness import simulate, sources_of

pytestmark = pytest.mark.rtl

LONG = pytest.mark.long
MODEL = "models/DSP48E2.sv"
DEEP = {"Areg": 2, "Creg": 1, "Dreg": 0, "Adreg": 0}
PRIMITIVE = {"Dsp48e2": 1}
CASES = [
    ("dsp", PRIMITIVE),
    ("mux", {}),
    ("chain", {"Dsps": 12, "Cascade": 6}),
    ("dot_array", {"Rows": 3}),
]
MORE = [
    ("dsp", {}),
    ("dsp", {"Shift": 17}),
    ("chain", {"Dsps": 16, "Cascade": 16, **PRIMITIVE}),
    ("chain", {"Dsps": 2, "Cascade": 2}),
    ("chain", {}),
    ("dot_array", {"Rows": 1}),
    ("dot_array", {"Rows": 2, **PRIMITIVE}),
    ("dot_array", {}),
]


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        pytest.param(name, parameters, id="-".join([name, *map(str, parameters.values())]),
                     marks=marks)
        for cases, marks in ((CASES, ()), (MORE, LONG))
        for name, parameters in cases
    ],
)  # fmt: skip
def test_module(module, parameters, tmp_path):
    sources = sources_of(f"plait_sd_{module}", "sparse_dsp.f")
    if parameters.get("Dsp48e2"):
        sources = [MODEL, *sources]
    seeds = {} if module == "dot_array" else {"seeds": (1,)}  # the others have nothing to reset
    simulate(f"plait_sd_{module}", f"cocotb_sd_{module}", tmp_path, sources=sources, **seeds,
             **parameters)  # fmt: skip


def test_dequantiser(tmp_path):
    sources = ["sparse_dsp/plait_sd_weights.sv"]
    simulate("plait_sd_weights", "cocotb_sd_weights", tmp_path, sources=sources, seeds=(1,))


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="chain"),
        pytest.param({"PreAdder": 0, "Breg": 1, "Opmodereg": 0}, id="multiplier", marks=LONG),
        pytest.param(DEEP, id="deep", marks=LONG),
        pytest.param({"Areg": 0, "Breg": 0, "Preg": 0}, id="shallow", marks=LONG),
    ],
)
def test_primitive(parameters, tmp_path):
    bench = Path(__file__).with_name("dsp48e2_bench.sv")
    simulate("dsp48e2_bench", "cocotb_sd_dsp48e2", tmp_path, sources=[MODEL, bench], seeds=(1,),
             **parameters)  # fmt: skip
