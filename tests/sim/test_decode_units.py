"""Decode units: what they cost, what they refuse, and that a machine without them says so."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import PlaitError, SpecError
from plait.models.formats import get
from plait.models.graph import Graph, Op
from plait.models.graph.workload import Workload
from plait.sim.families.base import cost
from plait.sim.families.decode_units import area_mm2, decoding, software_operations
from plait.sim.spec.base import Accelerator
from plait.sim.spec.load import load_accelerator, parse_accelerator

FP16, INT8 = "fp16-decoder", "int8-decoder"


def workload(weight: str, cin: int = 256, cout: int = 128, batch: int = 1) -> Workload:
    graph = Graph("one", (Op("proj", "linear", cin=cin, cout=cout, parameters=cin * cout),))
    return graph.bind("decode", batch, 16, {"weight": weight, "activation": "int8"})


def machine(name: str, **units: object) -> Accelerator:
    return load_accelerator(name).with_(**{f"decode_units.{k}": v for k, v in units.items()})


def test_a_palette_streams_beside_the_array() -> None:
    found = decoding(workload("palette3"), load_accelerator(FP16))
    assert found.unit.tolist() == ["lookup_table"]
    assert found.streamed_cycles.tolist() == [128 * 256 / 64]
    assert found.waiting_cycles.tolist() == [8 + 1]  # entries, and the latency
    assert found.loaded_bytes.tolist() == [8 * 2]
    assert found.energy_pj is not None
    assert found.energy_pj.tolist() == pytest.approx([128 * 256 * 0.64])
    assert found.rung(0).tolist() == [512 + 9]
    assert found.rung(1000).tolist() == [9]  # a maximum, not a sum


def test_conflicts_of_banks_cost_cycles() -> None:
    alone = machine(FP16, **{"codebook.lookups_per_cycle": 1})
    crowded = machine(FP16, **{"codebook.banks": 1})
    step = workload("vptq-v8-k256")  # 16 rows of 256 indices
    assert decoding(step, alone).streamed_cycles.tolist() == [16 * 256]
    assert decoding(step, crowded).streamed_cycles.tolist() == [16 * 256]  # 16 a beat, 16 cycles
    (between,) = decoding(step, load_accelerator(FP16)).streamed_cycles
    assert 16 * 256 / 16 < between < 16 * 256


def test_every_codebook_is_looked_up() -> None:
    one, two = (decoding(workload(f"aqlm-{m}x8-g8"), load_accelerator(FP16)) for m in (1, 2))
    assert two.streamed_cycles == 2 * one.streamed_cycles
    assert two.loaded_bytes == 2 * one.loaded_bytes == 2 * 256 * 8 * 2


def test_a_dense_side_path_takes_whole_columns() -> None:
    found = decoding(workload("int8-outlier", batch=3), load_accelerator(INT8))
    columns = np.ceil(get("int8-outlier").outlier_share * 256)
    assert found.streamed_cycles.tolist() == [np.ceil(3 * columns * 128 / 16)]


def test_trees_take_the_place_of_the_array() -> None:
    here = load_accelerator("matmul-free-fpga")
    step = workload("ternary", cin=2048, cout=2048)
    report = cost(step, here)
    assert decoding(step, here).streamed_cycles.tolist() == [2048 / 64 * 2048 / 64]
    assert report.columns["compute_cycles"].tolist() == [1024]
    assert report.columns["pe_pj"].tolist() == [0]
    assert report.columns["decode_pj"].tolist() == pytest.approx([2048 * 2048 * 0.05])
    assert report.rungs["decode"].tolist() == [2]


@pytest.mark.parametrize(
    ("name", "weight", "unit"),
    [
        ("fp16-baseline", "palette3", "lookup_table"),
        ("fp16-baseline", "vptq-v6-k4096", "codebook"),
        ("systolic-128", "aqlm-2x8-g8", "codebook"),
        ("systolic-128", "int4-dual", "expander"),
        ("bitmod-lossy", "int8-outlier", "outlier_path"),
        ("flightllm-u280", "int2-int4", "outlier_path"),
    ],
)
def test_a_machine_without_the_unit_says_so(name: str, weight: str, unit: str) -> None:
    with pytest.raises(SpecError) as caught:
        cost(workload(weight), load_accelerator(name))
    line = str(caught.value)
    assert f"{name}: decode_units.{unit}: the machine has no such unit" in line
    assert weight in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "weight", "changes", "complaint"),
    [
        (FP16, "palette6", {}, "lookup_table.entries: too few"),
        (FP16, "palette3", {"lookup_table.value_bits": 8}, "lookup_table.value_bits: too narrow"),
        (FP16, "vptq-v8-k65536", {}, "codebook.kibibytes: too small.*128.*at least 1024"),
        (FP16, "vptq-v12-k4096-r4096", {}, "codebook.vector_length: too short"),
        (FP16, "int2-int4", {"outlier_path.index_bits": 7}, "outlier_path.index_bits: too narrow"),
        (INT8, "int4-dual", {"expander.weights_per_cycle": 48}, "no divisor of the group size"),
    ],
)
def test_a_unit_that_is_too_small_says_so(
    name: str, weight: str, changes: dict[str, int], complaint: str
) -> None:
    with pytest.raises(SpecError, match=complaint):
        cost(workload(weight), machine(name, **changes))


def test_trees_refuse_what_they_cannot_add() -> None:
    here = load_accelerator("matmul-free-fpga")
    narrow = here.with_(**{"decode_units.trit_tree.accumulator_bits": 18})
    with pytest.raises(SpecError, match=r"accumulator_bits: too narrow.*at least 19"):
        cost(workload("ternary", cin=2048), narrow)
    graph = Graph("one", (Op("proj", "linear", cin=64, cout=64),))
    wide = graph.bind("decode", 1, 16, {"weight": "ternary"})
    with pytest.raises(SpecError, match="INT8 activations only"):
        cost(wide, here)


def test_an_array_of_codes_refuses_fp16_values() -> None:
    units = {"lookup_table": {"entries": 16, "weights_per_cycle": 8}}
    for name in ("bitmod-lossy", "flightllm-u280", "ant"):
        with pytest.raises(SpecError, match="the array takes no FP16 values"):
            cost(workload("palette3"), load_accelerator(name).with_(decode_units=units))


@pytest.mark.parametrize("name", ["fp16-baseline", "systolic-128", "flightllm-u280"])
def test_published_simulators_know_no_units(name: str) -> None:
    with pytest.raises(SpecError, match="knows no decode units"):
        cost(workload("int4-dual"), load_accelerator(name), "published")


def test_keys_and_values_pass_no_unit() -> None:
    attention = Op("attention", "attention", heads=2, kv_heads=1, head_dim=16, width=32)
    step = Graph("one", (attention,)).bind("decode", 1, 16, {"kv": "palette4"})
    with pytest.raises(SpecError, match="keys and values pass no decode unit"):
        cost(step, load_accelerator(FP16))


def test_gpus_decode_in_software() -> None:
    gpu = load_accelerator("a100-80g")
    slow = gpu.with_(**{"compute.vector_operations_per_s": 1e12})
    step = workload("palette3", cin=4096, cout=4096)
    assert "decode" not in cost(step, gpu).rungs
    assert software_operations(step).tolist() == [2 * 3 * 4096 * 4096]
    told = cost(step, slow)
    assert told.time[0] == pytest.approx(2 * 3 * 4096 * 4096 / 1e12)
    assert told.rungs["decode"][0] > 0


def test_a_gpu_with_a_unit_uses_it() -> None:
    units = {"lookup_table": {"entries": 16, "weights_per_cycle": 1}}
    gpu = load_accelerator("a100-80g").with_(clock_hz=1e9, decode_units=units)
    found = cost(workload("palette3"), gpu)
    assert found.time[0] == pytest.approx((128 * 256 + 9) / 1e9)
    with pytest.raises(SpecError, match="decode_units need clock_hz"):
        load_accelerator("a100-80g").with_(decode_units=units)


def test_cores_share_the_decoding() -> None:
    units = {"expander": {"weights_per_cycle": 1}}
    here = load_accelerator("flightllm-small").with_(decode_units=units)
    two = here.with_(**{"cores.count": 2})
    one_core, both = (cost(workload("int4-dual"), m).rungs["decode"][0] for m in (here, two))
    assert one_core > 1.9 * both > 0
    closed, played = (cost(workload("int4-dual"), here, f) for f in ("closed_form", "timeline"))
    assert closed.time[0] == pytest.approx(played.time[0])


def test_area_adds_up() -> None:
    units = load_accelerator(FP16).decode_units
    assert units.codebook is not None
    known = area_mm2(units)
    bigger = area_mm2(machine(FP16, **{"codebook.kibibytes": 1024}).decode_units)
    assert known is not None
    assert bigger is not None
    assert bigger > 5 * (known - 0.0782)  # without the palette and the outlier path
    assert area_mm2(machine(FP16, **{"lookup_table.area_um2": None}).decode_units) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("decode_units: {codebok: {}}", "did you mean codebook"),
        ("decode_units: {expander: {}}", "expander.weights_per_cycle: missing"),
        ("decode_units: {trit_tree: {inputs: 1, accumulator_bits: 16}}", "at least 2"),
        (
            "decode_units: {codebook: {kibibytes: 8, banks: 6, vector_length: 8, "
            "lookups_per_cycle: 4}}",
            "banks 6 is no power of two",
        ),
    ],
)
def test_a_wrong_description_is_one_line(text: str, complaint: str) -> None:
    yaml = (
        "family: systolic\nname: mine\nclock_hz: 1e9\narray: {rows: 8, columns: 8}\n"
        f"memory: {{port_bits_per_cycle: 64}}\n{text}\n"
    )
    with pytest.raises(PlaitError, match=complaint) as caught:
        parse_accelerator(yaml, "mine.yaml")
    assert "\n" not in str(caught.value)


def test_offload_takes_the_units_of_its_devices() -> None:
    with pytest.raises(SpecError, match="belong to a device"):
        load_accelerator("lamina-h100-h20").with_(**{"decode_units.expander.weights_per_cycle": 8})
