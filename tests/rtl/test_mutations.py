"""Every bench is proven: with one operator, width, constant or reset of the RTL changed, it fails.

mutations/NAME.patch changes one file of rtl/; the bench that must notice is that of its module.
One patch a bench is among the ordinary tests; all run by `make test-mutations` (marker mutation).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import build, sources_of
from machine_cases import default_cases, save
from mutating import QUIET, changed_by, must_notice, mutated

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

_FOLDER = Path(__file__).with_name("mutations")
_SMALL_ARRAY = {"Rows": 2, "Columns": 2, "Lanes": 3}
_TINY_CORE = {"Rows": 1, "Columns": 1, "Lanes": 1, "AccumulatorBits": 15, "GuardBits": 3}
_TINY_CORE |= {"ScaleBits": 8, "PortBits": 256, "ActivationBufferSteps": 128}
_TINY_CORE |= {"WeightBufferSteps": 16, "ScaleBufferGroups": 4}
_WHOLE = ("plait_bs_core", "cocotb_bs_core", _TINY_CORE)
# Changed file -> top, bench, parameters, environment.
_BENCHES: dict[str, tuple[str, str, dict[str, int], dict[str, str]]] = {
    "common/plait_skid.sv": ("plait_skid", "cocotb_stream", {"Width": 8}, {"CAPACITY": "2"}),
    "common/plait_fifo.sv": (
        "plait_fifo",
        "cocotb_stream",
        {"Width": 8, "Depth": 5},
        {"CAPACITY": "5"},
    ),
    "bit_serial/plait_bs_array.sv": ("plait_bs_array", "cocotb_bs_array", _SMALL_ARRAY, {}),
    "bit_serial/plait_bs_dot.sv": ("plait_bs_pe", "cocotb_bs_pe", {"Lanes": 4}, {}),
    "bit_serial/plait_bs_weight_buffer.sv": (
        "plait_bs_weight_buffer",
        "cocotb_bs_weight_buffer",
        {"Rows": 20},  # three planes a word: those of other formats stay behind
        {},
    ),
    "bit_serial/plait_bs_sequencer.sv": (*_WHOLE, {}),
    "bit_serial/plait_bs_counters.sv": (*_WHOLE, {}),
    "bit_serial/plait_bs_core.sv": (*_WHOLE, {}),
    **dict.fromkeys(
        [f"sparse_dsp/plait_sd_{leaf}.sv" for leaf in ("dot_array", "multiply")],
        ("plait_sd_multiply", "cocotb_sd_multiply", {"Rows": 1}, {}),
    ),
    **dict.fromkeys(
        [f"sparse_dsp/plait_sd_{leaf}.sv" for leaf in ("dsp", "reduce", "group", "chain")],
        ("plait_sd_chain", "cocotb_sd_chain", {"Dsps": 8, "Cascade": 8}, {}),
    ),
    **dict.fromkeys(
        [f"sparse_dsp/plait_sd_{leaf}.sv" for leaf in ("round", "reciprocal", "special_lane")],
        ("plait_sd_special", "cocotb_sd_special", {}, {}),
    ),
}
_PATCHES = sorted(_FOLDER.glob("*.patch"))


def _bench(changed: str) -> tuple[str, str, dict[str, int], dict[str, str]]:
    """Top, bench, parameters and environment that must notice a change of a file."""
    module = Path(changed).stem
    return _BENCHES.get(changed, (module, module.replace("plait_", "cocotb_"), {}, {}))


def _marked() -> list:
    """All patches; those beyond the first that a bench must notice carry the marker mutation."""
    parameters, benches = [], set()
    for patch in _PATCHES:
        bench = _bench(changed_by(patch))[1]
        marks = [pytest.mark.mutation] if bench in benches else []
        parameters.append(pytest.param(patch, marks=marks, id=patch.stem))
        benches.add(bench)
    return parameters


@pytest.mark.parametrize("patch", _marked())
def test_mutation_is_caught(patch, tmp_path):
    rtl = tmp_path / "rtl"
    changed = mutated(patch, rtl)
    top, bench, parameters, environment = _bench(changed)
    sources: list[Path] | None = [rtl / changed] if changed.startswith("common/") else None
    if changed.startswith("sparse_dsp/"):
        sources = sources_of(top, "sparse_dsp.f", rtl)
    cases = default_cases(top, parameters)
    given = {**environment, **(save(cases, tmp_path) if cases else {})}
    run = build(top, tmp_path, sources=sources, rtl=rtl, options=QUIET, **parameters)
    must_notice(run, bench, **given)


@pytest.mark.parametrize("patch", _PATCHES, ids=[patch.stem for patch in _PATCHES])
def test_patch_applies(patch, tmp_path):
    mutated(patch, tmp_path / "rtl")
