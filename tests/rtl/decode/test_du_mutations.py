"""The benches of the decode units notice one changed operator, width, bound or reset each."""

from __future__ import annotations

from pathlib import Path

import pytest
from du_sources import up_to
from harness import build
from mutating import QUIET, must_notice, mutated

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

_PATCHES = sorted(Path(__file__).with_name("mutations").glob("*.patch"))
_IN_EVERY_RUN = "trit_tree_sign_ignored"
# Changed module -> that whose bench must notice, and its parameters.
_BENCHES = {
    "sum": ("trit_tree", {"Trees": 3, "Inputs": 5, "AccumulatorBits": 12}),
    "trit_tree": ("trit_tree", {"Trees": 3, "Inputs": 5, "AccumulatorBits": 12}),
    "expander": ("expander", {"WeightsPerCycle": 3}),
    "expander_dot": ("expander_dot", {"WeightsPerCycle": 3, "AccumulatorBits": 22}),
    "lookup_table": ("lookup_table", {"Entries": 6, "WeightsPerCycle": 3}),
    "codebook": (
        "codebook",
        {"Entries": 37, "VectorLength": 3, "Banks": 4, "LookupsPerCycle": 5},
    ),
}


def _marked() -> list:
    return [
        pytest.param(
            patch,
            id=patch.stem,
            marks=[] if patch.stem == _IN_EVERY_RUN else [pytest.mark.mutation],
        )
        for patch in _PATCHES
    ]


@pytest.mark.parametrize("patch", _marked())
def test_mutation_is_caught(patch, tmp_path):
    rtl = tmp_path / "rtl"
    changed = Path(mutated(patch, rtl)).stem.removeprefix("plait_du_")
    module, parameters = _BENCHES[changed]
    top = f"plait_du_{module}"
    run = build(top, tmp_path, sources=up_to(top, rtl), rtl=rtl, options=QUIET, **parameters)
    must_notice(run, f"cocotb_du_{module}")


@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_patch_applies(patch, tmp_path):
    mutated(patch, tmp_path / "rtl")
