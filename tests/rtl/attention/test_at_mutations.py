"""The benches of the attention unit notice one changed operator, width, bound or reset each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from at_sources import up_to
from harness import RTL, build
from test_mutations import _mutate as mutate

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

_PATCHES = sorted(Path(__file__).with_name("mutations").glob("*.patch"))
_PARAMETERS = {"dot": {"Lanes": 5, "Steps": 3}, "accumulate": {"Lanes": 5, "Steps": 3}}


def _mutated(patch: Path, rtl: Path) -> str:
    """The name of the module that a patch has changed in a copy of the library."""
    shutil.copytree(RTL, rtl)
    return Path(mutate(patch, rtl)).stem


@pytest.mark.mutation
@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_mutation_is_caught(patch, tmp_path):
    rtl = tmp_path / "rtl"
    top = _mutated(patch, rtl)
    name = top.removeprefix("plait_at_")
    quiet = ("-Wno-UNUSEDSIGNAL", "-Wno-UNUSEDPARAM", "-Wno-WIDTHEXPAND")
    run = build(
        top, tmp_path, sources=up_to(top), rtl=rtl, options=quiet, **_PARAMETERS.get(name, {})
    )
    # A cocotb test fails, or an assertion of the RTL stops the simulator.
    with pytest.raises((AssertionError, SystemExit, RuntimeError)):
        run(f"cocotb_at_{name}")


@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_patch_applies(patch, tmp_path):
    _mutated(patch, tmp_path / "rtl")
