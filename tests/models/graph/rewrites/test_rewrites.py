"""Rewrites: the changed graph is what the method says, and mistakes are one line."""

from __future__ import annotations

import dataclasses

import pytest

from plait.errors import PlaitError, SpecError
from plait.models.graph import Graph, load_graph
from plait.models.graph.counts import kv_bytes_per_token, stored_weights, weight_bytes_read
from plait.models.graph.rewrites import Step, apply, parse, rewrite_names
from plait.models.graph.rewrites.duo_llm import duo_size, fraction_read
from plait.models.graph.rewrites.flat_gemm import thresholds
from plait.models.graph.rewrites.registry import describe, parse_all
from plait.models.graph.workload import expert_capacity
from plait.models.llm import load_shape

LAYERS = 30
ROUTE = "bsx" * 10


@pytest.fixture(scope="module")
def smollm() -> Graph:
    return load_graph("smollm2-135m")


def changed(graph: Graph, text: str) -> Graph:
    return parse(text).change(graph).verify()


def macs(graph: Graph, batch: int = 1) -> float:
    """Multiply-adds with weights of one decode step."""
    c = graph.bind("decode", batch=batch).columns
    return float((c["count"] * c["tokens"] * c["cin"] * c["cout"] * c["experts_touched"]).sum())


def attention(graph: Graph, phase: str, context: int) -> dict:
    columns = graph.bind(phase, context=context).columns
    row = list(columns["kind"]).index("attention")
    return {name: values[row] for name, values in columns.items()}


@pytest.mark.parametrize("name", rewrite_names())
def test_each_is_described(name: str) -> None:
    row = next(row for row in describe() if row["name"] == name)
    assert row["summary"].endswith(".")
    assert isinstance(row["changes_outputs"], bool)


@pytest.mark.parametrize(
    "text",
    [
        "grouped-kv:kv_heads=1",
        "kv-format:format=int4",
        "lm-infinite:sinks=4,window=64",
        "hip:keep=64",
        "unified-max:phi=-2.5,recompute=0.1",
        "flat-gemm:pad=64",
        "moe:experts=8,active=2,attention=true",
        "gemfilter:layer=9,keep=256",
        f"duo-llm:route={ROUTE},skip=layer",
    ],
)
def test_a_rewrite_is_its_text(smollm: Graph, text: str) -> None:
    one = parse(text)
    assert parse(str(one)) == one
    for phase in ("decode", "prefill"):
        for step in apply([one], Step(smollm, phase, 300)):
            assert Graph.from_json(step.graph.to_json()) == step.graph
            assert len(step.graph.bind(phase, context=step.context)) > 0


def test_grouped_kv(smollm: Graph) -> None:
    one = changed(smollm, "grouped-kv:kv_heads=1")
    whole, narrow = (kv_bytes_per_token(graph.bind("decode")) for graph in (smollm, one))
    assert (whole, narrow) == (2 * LAYERS * 192 * 2, 2 * LAYERS * 64 * 2)
    expected = load_graph(load_shape("smollm2-135m").with_(kv_heads=1))
    assert one.parameters == expected.parameters
    for phase in ("decode", "prefill"):
        got, wanted = (graph.bind(phase, context=100).table for graph in (one, expected))
        assert got.drop(columns="op").equals(wanted.drop(columns="op"))


@pytest.mark.slow
def test_grouped_kv_of_one_matrix_and_of_normed_keys() -> None:
    assert changed(load_graph("gpt2"), "grouped-kv:kv_heads=4").shape is not None
    qwen = load_shape("qwen3-0.6b")
    expected = load_graph(qwen.with_(kv_heads=2))
    got = changed(load_graph(qwen), "grouped-kv:kv_heads=2")
    columns = ("elements", "cout", "kv_heads", "parameters")
    for column in columns:
        assert (got.bind().columns[column] == expected.bind().columns[column]).all(), column


def test_kv_format(smollm: Graph) -> None:
    one = changed(smollm, "kv-format:format=int4")
    assert kv_bytes_per_token(one.bind("decode")) == 2 * LAYERS * 192 * (4 + 16 / 64) / 8
    assert attention(one, "decode", 100)["kv_format"] == "int4"
    argument = one.bind("decode", formats={"kv": "int8"})
    assert kv_bytes_per_token(argument) == 2 * LAYERS * 192 * (8 + 16 / 64) / 8


@pytest.mark.parametrize("context", [5, 16, 17, 20, 21, 200])
def test_lm_infinite_counts_what_its_mask_shows(smollm: Graph, context: int) -> None:
    from plait.models.attention import lambda_mask

    one = changed(smollm, "lm-infinite:sinks=4,window=16")
    prompt, token = (attention(one, phase, context) for phase in ("prefill", "decode"))
    assert prompt["pairs"] == lambda_mask(context, context, 4, 16).sum()
    assert token["pairs"] == token["keys"] == token["cached"] == min(context, 20)


@pytest.mark.parametrize("context", [1, 50, 64, 100, 129, 500, 1000])
def test_hip_counts_what_its_mask_shows(smollm: Graph, context: int) -> None:
    import torch

    from plait.models.attention import hip_attention

    sizes = {"keep": 32, "sinks": 8, "window": 32}
    one = changed(smollm, "hip:keep=32,sinks=8,window=32,query_block=16,key_block=4")
    generator = torch.Generator().manual_seed(context)
    q, k, v = (torch.randn(n, context, 8, generator=generator) for n in (2, 1, 1))
    prompt, token = (attention(one, phase, context) for phase in ("prefill", "decode"))
    found = hip_attention(q, k, v, **sizes, query_block=16, key_block=4)
    assert prompt["pairs"] == found.pairs
    assert found.evaluations <= prompt["search_blocks"] <= 1.35 * found.evaluations
    found = hip_attention(q[:, -1:], k, v, **sizes, query_block=1, key_block=4)
    assert token["pairs"] == token["keys"] == found.pairs
    assert found.evaluations <= token["search_blocks"] <= 1.35 * found.evaluations
    assert token["cached"] == context


def test_unified_max_counts_recomputed_rows(smollm: Graph) -> None:
    plain = attention(smollm, "prefill", 100)
    one = attention(changed(smollm, "unified-max:recompute=0.1"), "prefill", 100)
    assert (plain["pairs"], one["pairs"]) == (5050, 5555)
    assert (plain["cached"], one["cached"]) == (100, 100)


def test_flat_gemm_pads_rows(smollm: Graph) -> None:
    for pad, batch, rows in ((8, 3, 8), (8, 9, 16), (64, 3, 64), (64, 64, 64)):
        assert macs(changed(smollm, f"flat-gemm:pad={pad}"), batch) == rows * macs(smollm, 1)


def test_flat_gemm_thresholds_ascend() -> None:
    peaks = {"vector_operations_per_s": 20e12, "matrix_operations_per_s": 300e12}
    slow, fast = (
        thresholds(4096, 4096, bandwidth_bytes_per_s=bandwidth, **peaks)
        for bandwidth in (1e12, 100e12)
    )
    assert 1 <= fast.flat < slow.flat <= slow.library
    assert fast.flat < fast.library


def test_gemfilter_is_two_passes(smollm: Graph) -> None:
    one = parse("gemfilter:layer=9,keep=256")
    first, second = one.steps(Step(smollm, "prefill", 2048))
    assert (len(first.graph.layers), first.context) == (10, 2048)
    assert (len(second.graph.layers), second.context) == (LAYERS, 256)
    assert "lm_head" not in [op.path for op in first.graph.ops]
    (short,) = one.steps(Step(smollm, "prefill", 100))[1:]
    assert short.context == 100
    (decode,) = parse("gemfilter:layer=9,keep=256,generated=40").steps(Step(smollm, "decode", 2048))
    assert decode.context == 256 + 40
    assert one.steps(Step(smollm, "decode", 1))[0].context == 1


def test_duo_llm_by_layer(smollm: Graph) -> None:
    shape = load_shape("smollm2-135m")
    sizes = {"big": shape.ffn, "small": 256, "gated": True}
    head = shape.hidden * shape.vocab
    for skip in ("ffn", "layer"):
        one = changed(smollm, f"duo-llm:route={ROUTE},skip={skip}")
        counted = duo_size(ROUTE, shape.hidden, **sizes, skip=skip)
        square = 4 * shape.hidden**2  # duo_size has square projections, this model has grouped KV
        ours = shape.hidden * (2 * shape.query_width + 2 * shape.kv_width)
        layers = len(ROUTE) if skip == "ffn" else len(ROUTE.replace("x", ""))
        assert macs(one) == counted.macs_per_token + layers * (ours - square) + head
        stored = counted.stored_parameters + len(ROUTE) * (ours - square) + head
        assert stored_weights(one) == stored
    layers = 20
    assert kv_bytes_per_token(one.bind("decode")) == 2 * layers * 192 * 2
    assert macs(changed(smollm, "duo-llm:route=" + "b" * LAYERS)) == macs(smollm)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_duo_llm_by_token(smollm: Graph, batch: int) -> None:
    shape = load_shape("smollm2-135m")
    one = changed(smollm, "duo-llm:big_share=0.5,small_share=0.25,small=256")
    read = weight_bytes_read(one.bind("decode", batch=batch))
    plain = weight_bytes_read(smollm.bind("decode", batch=batch))
    matrices = 2 * LAYERS * 3 * shape.hidden
    share = fraction_read(batch, shape.ffn, 256, big_share=0.5, small_share=0.25)
    assert read == pytest.approx(plain + matrices * (share * (shape.ffn + 256) - shape.ffn))


@pytest.mark.slow
def test_moe_is_what_a_mixture_exports_as(smollm: Graph) -> None:
    """The same numbers as a decoder written with experts, router included."""
    shape = load_shape("smollm2-135m")
    written = load_graph(shape.with_(experts=8, experts_active=2))
    one = changed(smollm, "moe:experts=8,active=2")
    assert one.parameters == written.parameters
    for batch in (1, 7):
        assert macs(one, batch) == pytest.approx(macs(written, batch), rel=1e-12)
        reads = [weight_bytes_read(graph.bind("decode", batch=batch)) for graph in (one, written)]
        assert reads[0] == pytest.approx(reads[1], rel=1e-12)


def test_moe_capacity(smollm: Graph) -> None:
    one = changed(changed(smollm, "moe:experts=8,active=2"), "moe:capacity=1.25")
    columns = one.bind("decode", batch=64).columns
    rows = set(columns["tokens"][columns["kind"] == "experts"])
    assert rows == {expert_capacity(8, 2, 64, 1.25)} == {20.0}


def test_parse_all() -> None:
    one = parse("hip")
    assert parse_all(None) == ()
    assert parse_all("hip") == parse_all([one]) == (one,)
    assert dataclasses.replace(one, keep=64) == parse("hip:keep=64")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gemfiltr", "unknown rewrite 'gemfiltr': did you mean gemfilter?"),
        ("hip:kept=3", "rewrite hip: unknown parameter 'kept': did you mean keep?"),
        ("hip:keep=abc", "rewrite hip: keep: wrong type, got 'abc', expected a whole number"),
        ("hip:keep=3", "rewrite hip: keep: out of range, got 3, expected a multiple of key_block"),
        ("hip:keep", "not KEY=VALUE once, got 'keep'"),
        ("hip:window=16", "window: out of range, got 16, expected query_block or more"),
        ("grouped-kv", "rewrite grouped-kv: kv_heads: missing"),
        ("grouped-kv:kv_heads=2", "does not divide the KV heads, got 2, expected a divisor of 3"),
        ("kv-format:format=int44", "unknown format 'int44': did you mean int4"),
        ("lm-infinite:window=0", "window: out of range, got 0, expected 1 or more"),
        ("unified-max:low=9,high=1", "low: out of range, got 9.0, expected less than high 1"),
        ("unified-max:high=100", "expected less than 88, where FP32 overflows"),
        ("moe", "smollm2-135m: has no experts"),
        ("moe:experts=2,active=3", "active: out of range, got 3, expected 0 to experts 2"),
        ("duo-llm:route=bs", "route: not a letter a layer, got '2 letters', expected 30"),
        ("duo-llm:route=by", "route: out of range, got 'by', expected letters b, s and x"),
        ("duo-llm:skip=layer", "skip: out of range, got 'layer', expected ffn where tokens choose"),
        ("gemfilter:layer=30", "layer: no such layer, got 30, expected 0 to 29"),
        ("unified-max:phi=nan", "phi: wrong type, got 'nan', expected a number"),
        ("moe:attention=yes", "attention: wrong type, got 'yes', expected true or false"),
    ],
)
def test_mistakes_are_one_line(smollm: Graph, text: str, said: str) -> None:
    with pytest.raises(PlaitError) as error:
        apply([parse(text)], Step(smollm, "prefill", 100))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_not_a_text() -> None:
    with pytest.raises(SpecError, match="not a rewrite"):
        parse(3)  # type: ignore[arg-type]
