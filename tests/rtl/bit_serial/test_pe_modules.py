"""From the term decoder to the array: values equal the golden model, in the cycles stated."""

import pytest
from harness import simulate

pytestmark = pytest.mark.rtl

_WIDE = {"AccumulatorBits": 24, "GuardBits": 7}
CASES = {
    "term_decoder": [{"Lanes": 1}, {"Lanes": 4}, {"Lanes": 5}],
    "activation": [{"Lanes": 1}, {"Lanes": 4}, {"Lanes": 5}],
    "align": [
        {"Lanes": 1, "ExponentBits": 3},
        {"Lanes": 4, "ExponentBits": 6},
        {"Lanes": 5, "ExponentBits": 7},
    ],
    "add_aligned": [
        {"LeftBits": 15, "RightBits": 23, "SumBits": 15, "IntegerBits": 32},
        {"LeftBits": 32, "RightBits": 23, "SumBits": 32, "IntegerBits": 40},
        {"LeftBits": 33, "RightBits": 41, "SumBits": 33, "IntegerBits": 0},
        {"LeftBits": 8, "RightBits": 29, "SumBits": 8, "IntegerBits": 0},
    ],
    "pe": [
        {"Lanes": 1, "AccumulatorBits": 12, "GuardBits": 3, "Integer": 0},
        {"Lanes": 4, "AccumulatorBits": 15, "GuardBits": 3, "Integer": 1},
        {"Lanes": 5, "AccumulatorBits": 33, "GuardBits": 7, "Integer": 1},
    ],
    "dequant": [
        {"AccumulatorBits": 12, "OutputAccumulatorBits": 14, "ScaleBits": 1, "Integer": 0},
        {"AccumulatorBits": 15, "OutputAccumulatorBits": 32, "ScaleBits": 8, "Integer": 1},
        {"AccumulatorBits": 33, "OutputAccumulatorBits": 41, "ScaleBits": 5, "Integer": 1},
    ],
    "scale": [{"MantissaBits": 14}, {"MantissaBits": 40}, {"MantissaBits": 33, "GuardBits": 7}],
    "array": [
        {"Rows": 1, "Columns": 1, "Lanes": 1, "ScaleBits": 1},
        {"Rows": 8, "Columns": 4, "Lanes": 4},
        {"Rows": 3, "Columns": 5, "Lanes": 5, "ScaleBits": 5, **_WIDE},
    ],
}
# Half a minute each, and the machine of test_bs_core holds the same array.
LONG = [("pe", 2), ("dequant", 1), ("array", 1)]


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        pytest.param(
            module,
            parameters,
            id="-".join([module, *map(str, parameters.values())]),
            marks=[pytest.mark.long] if (module, place) in LONG else [],
        )
        for module, cases in CASES.items()
        for place, parameters in enumerate(cases)
    ],
)
def test_module(module, parameters, tmp_path):
    is_clocked = module in ("pe", "dequant", "array")
    seeds = {} if is_clocked else {"seeds": (1,)}  # nothing to initialise
    simulate(f"plait_bs_{module}", f"cocotb_bs_{module}", tmp_path, **seeds, **parameters)
