"""Modules of the attention unit: values equal the golden model, in the cycles stated."""

import pytest
from at_sources import up_to
from harness import simulate

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

CASES = {
    "dot": [{"Lanes": 1, "Steps": 1}, {"Lanes": 16, "Steps": 4}, {"Lanes": 5, "Steps": 3}],
    "score": [{"DotBits": 25}, {"DotBits": 30}, {"DotBits": 33}],
    "exp2": [{}],
    "accumulate": [{"Lanes": 1, "Steps": 1}, {"Lanes": 16, "Steps": 4}, {"Lanes": 5, "Steps": 3}],
    "combine": [{"Lanes": 1}, {"Lanes": 8}, {"Lanes": 3}],
    "address": [
        {"ScalesPerWord": 16, "TokenWords": 2},
        {"ScalesPerWord": 8, "TokenWords": 4},
        {"ScalesPerWord": 2, "TokenWords": 1},
    ],
    "unpack": [
        {"PortBits": 64, "VectorWords": 1},
        {"PortBits": 512, "VectorWords": 1},
        {"PortBits": 256, "VectorWords": 3},
    ],
}


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        # the smallest and the odd one in every run, the ordinary ones in `make test-long`
        pytest.param(module, parameters, marks=[pytest.mark.long] if place == 1 else [])
        for module, cases in CASES.items()
        for place, parameters in enumerate(cases)
    ],
    ids=str,
)
def test_values_and_cycles(module, parameters, tmp_path_factory):
    top = f"plait_at_{module}"
    root = tmp_path_factory.mktemp("rtl")
    simulate(top, f"cocotb_at_{module}", root, sources=up_to(top), **parameters)
