"""The attention device's generator: package, parameters, memory image, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from plait.errors import PlaitError
from plait.hwgen.attention.assemble import Job, assemble, encode_partial
from plait.hwgen.attention.layout import Geometry
from plait.hwgen.attention.package import attention_package
from plait.hwgen.attention.parameters import device_parameters
from plait.hwgen.attention.recipe import expected_image, program, widths_in
from plait.hwgen.generate import design_of, generate
from plait.hwgen.verilog import LIBRARY
from plait.models.golden import attention as unit
from plait.models.golden.attention import DEFAULT, Partial
from plait.models.golden.attention_operands import attend_cache, dense, encode_cache, fold_query
from plait.sim.families.attention_cycles import CAUSES
from plait.sim.spec import load_accelerator

SMALL = load_accelerator("offload-small")
GEOMETRY = Geometry(query_heads=3, head_size=12, lanes=5, port_bits=256, max_segments=4)


def job(tokens: int = 20, heads: int = 3, size: int = 12, format: str = "int8") -> Job:
    rng = np.random.default_rng(0)
    cache = encode_cache(*rng.standard_normal((2, tokens, size)), format)
    query = fold_query(rng.standard_normal((heads, size)))
    return Job(query, cache, dense(tokens), cache.value_shift)


def test_the_library_holds_the_package_of_the_default_widths():
    committed = (LIBRARY / "attention/plait_at_pkg.sv").read_text()
    assert attention_package(DEFAULT) == committed
    assert widths_in(design_of(SMALL)) == DEFAULT


def test_causes_are_those_of_the_simulator():
    assert design_of(SMALL).counters == CAUSES


def test_parameters():
    wanted = {"QueryHeads": 4, "HeadSize": 64, "Lanes": 16, "PortBits": 512, "MaxSegments": 64}
    assert device_parameters(SMALL) == wanted


def test_partial_results_come_back():
    rng = np.random.default_rng(1)
    partial = Partial(
        rng.integers(-4096, 4096, 3),
        rng.integers(0, 1 << 46, 3),
        rng.integers(-(1 << 54), 1 << 54, (3, 12)),
    )
    one = assemble([job()], GEOMETRY, DEFAULT)
    image = encode_partial(partial, GEOMETRY)
    assert len(image) == one.results_words
    assert one.outputs(image)[0].equals(partial)


def test_expected_image_is_the_golden_model():
    design = design_of(SMALL)
    example = program(design, None)
    partials = example.outputs(expected_image(design, example))
    for one, partial in zip(example.jobs, partials, strict=True):
        parts = {"segments": one.segments, "unified": one.unified}
        assert partial.equals(attend_cache(one.query, one.cache, one.value_shift, **parts))
    assert partials[-1].equals(unit.empty(4, 64))


def test_a_shared_cache_is_stored_once():
    one = job()
    twice = assemble([one, one], GEOMETRY, DEFAULT)
    assert sum(len(block) for block in twice.blocks.values()) < 2 * sum(
        len(block) for block in assemble([one], GEOMETRY, DEFAULT).blocks.values()
    )


def test_generate_writes_a_folder(tmp_path):
    manifest = generate(SMALL, tmp_path / "out")
    assert manifest.parameters["Lanes"] == 16
    again = generate(SMALL, tmp_path / "again")
    assert manifest.files == again.files


def with_unit(**changes: int):
    return SMALL.with_(**{f"attention_unit.{name}": value for name, value in changes.items()})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: design_of(load_accelerator("lamina-h100-h20")), "no unit is described"),
        (lambda: design_of(SMALL, formats=["fp16"]), "one format"),
        (lambda: with_unit(port_bits=320), "power of two"),
        (lambda: design_of(with_unit(context_bits=24)), "accumulators are too wide"),
        (lambda: assemble([job(heads=4)], GEOMETRY, DEFAULT), "query heads"),
        (lambda: assemble([job(size=8)], GEOMETRY, DEFAULT), "head size"),
        (lambda: assemble([job(format="fp16")], GEOMETRY, DEFAULT), "integers with a scale"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(PlaitError, match=message):
        call()
