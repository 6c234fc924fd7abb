"""The generated folder of a sparse DSP machine, and the machines there is no Verilog of."""

from __future__ import annotations

import json

import pytest

from plait.cosimulation import cosimulate_layer
from plait.errors import SpecError
from plait.hwgen.generate import design_of, generate
from plait.hwgen.mem_file import read_mem
from plait.hwgen.sparse_dsp.parameters import core_parameters
from plait.sim.spec import load_accelerator

SMALL = load_accelerator("flightllm-small")


def test_the_folder_is_the_same_each_time_and_complete(tmp_path) -> None:
    first = generate(SMALL, tmp_path / "a")
    second = generate(SMALL, tmp_path / "b")
    assert first.files == second.files
    assert all((tmp_path / "a" / name).exists() for name in first.sources)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["parameters"]["Rows"] == SMALL.core.mm_rows
    assert manifest["formats"] == ["int8", "int4", "int3", "int2"]


def test_the_primitive_comes_with_its_model_for_simulators() -> None:
    plain, primitive = (design_of(SMALL.with_(**{"core.dsp48e2": on})) for on in (False, True))
    assert (plain.parameters["Dsp48e2"], primitive.parameters["Dsp48e2"]) == (0, 1)
    assert set(primitive.sources) - set(plain.sources) == {"rtl/models/DSP48E2.sv"}


def test_expected_memory_differs_from_the_first_only_in_results(tmp_path) -> None:
    generate(SMALL, tmp_path / "out")
    before = read_mem(tmp_path / "out" / "program.mem", 32)
    after = read_mem(tmp_path / "out" / "expected.mem", 32)[0]
    assert (after[: len(before[0])] == before[0]).all()
    assert any((after[at : at + len(words)] != words).any() for at, words in before.items())


def test_states_counters_and_errors_come_from_the_verilog() -> None:
    design = design_of(SMALL)
    assert design.states[-1] == "run"
    assert design.counters == ("fetch", "compute", "special", "load", "store", "schedule")
    assert design.errors == ("program", "operation")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cores.count": 2}, r"flightllm-small: cores.count: there is no Verilog .*got 2"),
        ({"core.mm_columns": 4}, r"core.mm_columns: .*got 4, expected 2"),
        ({"core.chains": 3}, r"core.chains: .*got 3, expected 1, 2, 4 or 8 rows of MM"),
        ({"memory.channel_bytes_per_s": 14.4e9}, r"memory.channel_bytes_per_s: .*got 512"),
        ({"buffers.a_entries": 3000}, r"buffers.a_entries: .*expected a power of two"),
        ({"buffers.global_entries": 2000}, r"buffers.global_entries: .*at most 1024"),
    ],
)
def test_machines_without_verilog_are_named(changes, named) -> None:
    with pytest.raises(SpecError, match=named):
        design_of(SMALL.with_(**changes))


def test_a_parameter_that_the_schema_lacks_is_named() -> None:
    with pytest.raises(SpecError, match="no field for the Verilog's parameter Depth"):
        core_parameters(SMALL, "module m #(\n  parameter int unsigned Depth = 8\n) ();")


def test_formats_and_jobs_that_the_machine_does_not_take_are_named() -> None:
    with pytest.raises(
        SpecError, match="formats: the machine's dequantiser lacks it, got 'bitmod4'"
    ):
        design_of(SMALL, formats=["bitmod4"])
    with pytest.raises(SpecError, match="jobs: this family takes no list of jobs"):
        generate(SMALL, "unused", jobs=[])
    with pytest.raises(SpecError, match="unknown weight format of the layer 'bitmod4'"):
        next(cosimulate_layer("flightllm-small", formats=["bitmod4"]))
