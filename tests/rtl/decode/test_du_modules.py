"""The decode units: values equal the golden model, in the cycles stated."""

from __future__ import annotations

import pytest
from du_sources import up_to
from harness import simulate

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

# An odd set of parameters first: with two initial states it is in every run, but for the expander,
# which is then inside expander_dot. The smallest and the default, with four, are `long`.
CASES = {
    "trit_tree": [
        {"Trees": 3, "Inputs": 5, "AccumulatorBits": 12},
        {"Inputs": 1, "AccumulatorBits": 8},
        {"Inputs": 64, "AccumulatorBits": 20},
    ],
    "expander": [{"WeightsPerCycle": 3}, {"WeightsPerCycle": 1}, {"WeightsPerCycle": 16}],
    "expander_dot": [
        {"WeightsPerCycle": 3, "AccumulatorBits": 22},
        {"WeightsPerCycle": 1, "AccumulatorBits": 20},
        {"WeightsPerCycle": 16, "AccumulatorBits": 32},
    ],
    "lookup_table": [
        {"Entries": 6, "WeightsPerCycle": 3},
        {"Entries": 1, "WeightsPerCycle": 1, "ValueBits": 8},
        {"Entries": 16, "WeightsPerCycle": 16},
    ],
    "codebook": [
        {"Entries": 37, "VectorLength": 3, "Banks": 4, "LookupsPerCycle": 5},
        {"Entries": 2, "VectorLength": 1, "Banks": 1, "LookupsPerCycle": 1},
        {"Entries": 256, "VectorLength": 4, "Banks": 4, "LookupsPerCycle": 4},
    ],
}


_IN_EVERY_RUN = ("trit_tree", "expander_dot", "lookup_table", "codebook")


def _cases() -> list:
    cases = []
    for module, sets in CASES.items():
        for number, parameters in enumerate(sets):
            is_short = number == 0 and module in _IN_EVERY_RUN
            marks = [] if is_short else [pytest.mark.long]
            name = f"{module}-{parameters}"
            cases.append(pytest.param(module, parameters, marks=marks, id=name))
    return cases


@pytest.mark.parametrize(("module", "parameters"), _cases())
def test_values_and_cycles(module, parameters, tmp_path_factory):
    top = f"plait_du_{module}"
    root = tmp_path_factory.mktemp("rtl")
    simulate(top, f"cocotb_du_{module}", root, sources=up_to(top), **parameters)
