"""The benches of the attention unit notice one changed operator, width, bound or reset each."""

from __future__ import annotations

from pathlib import Path

import pytest
from at_sources import up_to
from harness import build
from mutating import QUIET, must_notice, mutated

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

_PATCHES = sorted(Path(__file__).with_name("mutations").glob("*.patch"))
_PARAMETERS = {"dot": {"Lanes": 5, "Steps": 3}, "accumulate": {"Lanes": 5, "Steps": 3}}


@pytest.mark.mutation
@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_mutation_is_caught(patch, tmp_path):
    rtl = tmp_path / "rtl"
    top = Path(mutated(patch, rtl)).stem
    name = top.removeprefix("plait_at_")
    run = build(
        top,
        tmp_path,
        sources=up_to(top),
        rtl=rtl,
        options=(*QUIET, "-Wno-WIDTHEXPAND"),
        **_PARAMETERS.get(name, {}),
    )
    must_notice(run, f"cocotb_at_{name}")


@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_patch_applies(patch, tmp_path):
    mutated(patch, tmp_path / "rtl")
