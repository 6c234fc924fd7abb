"""Rewritten models on every family: what is left out costs less, the report says what changed."""

from __future__ import annotations

import json

import pytest

from plait.errors import SpecError
from plait.models.graph import Graph, load_graph
from plait.models.llm import load_shape
from plait.sim import load_accelerator, simulate

MACHINES = {
    "a100-80g": ("decode", "prefill"),
    "bitmod-lossy": ("decode", "prefill"),
    "systolic-128": ("decode", "prefill"),
    "lamina-h100-h20": ("decode",),
}
SIZES = {"layers": 3, "hidden": 96, "heads": 6, "kv_heads": 2, "head_dim": 16, "ffn": 600}
# what is left out, what is added, at a context of 5,000 tokens
CHEAPER = [
    "grouped-kv:kv_heads=1",
    "kv-format:format=int4",
    "lm-infinite:sinks=4,window=64",
    "hip:keep=64,sinks=4,window=32",
    "gemfilter:layer=0,keep=64",
    "duo-llm:route=bxx",
    "duo-llm:route=bxx,skip=layer",
]
DEARER = ["moe:experts=8,active=2", "flat-gemm:pad=512", "unified-max:recompute=0.5"]
CASES = [(machine, phase) for machine, phases in MACHINES.items() for phase in phases]


@pytest.fixture(scope="module")
def decoder() -> Graph:
    return load_graph(load_shape("smollm2-135m").with_(**SIZES, vocab=500))


@pytest.mark.parametrize(("machine", "phase"), CASES)
def test_every_rewrite_on_every_machine(decoder: Graph, machine: str, phase: str) -> None:
    def run(rewrites: str | None = None):
        return simulate(decoder, machine, phase=phase, context=5000, batch=2, rewrites=rewrites)

    plain = run()
    for text in CHEAPER:
        if text.startswith("hip") and phase == "decode":
            continue  # the search reads more than it saves: an array has few rows to share it
        changed = run(text)
        assert changed.bytes < plain.bytes, text
        assert changed.seconds <= plain.seconds, text
    for text in DEARER:
        if text.startswith("flat") and phase == "prefill":
            continue  # few rows are padded
        changed = run(text)
        assert changed.operations > plain.operations, text
        assert changed.seconds >= plain.seconds, text


def test_the_report_says_what_changed(decoder: Graph) -> None:
    report = simulate(
        decoder, "a100-80g", rewrites=["lm-infinite:sinks=4,window=64", "unified-max"]
    )
    said = json.loads(report.to_json())["rewrites"]
    assert [one["changes_outputs"] for one in said] == [True, False]
    assert said[0]["rewrite"] == "lm-infinite:sinks=4,window=64,distance=0"
    assert "outputs change: tokens between the first and the window are not seen" in str(report)
    assert "outputs stay" in report._repr_html_()
    assert "rewrites" not in json.loads(simulate(decoder, "a100-80g").to_json())


@pytest.mark.parametrize("machine", ["a100-80g", "bitmod-lossy"])
def test_two_passes_add_up(decoder: Graph, machine: str) -> None:
    whole = simulate(
        decoder, machine, phase="prefill", context=900, rewrites="gemfilter:layer=0,keep=100"
    )
    second = simulate(decoder, machine, phase="prefill", context=100)
    rows = whole.table["op"].str.startswith("pass 2: ")
    unit = "cycles" if machine == "bitmod-lossy" else "seconds"
    assert whole.table[unit][rows].sum() == pytest.approx(second.table[unit].sum(), rel=1e-12)
    assert whole.table[unit].sum() == pytest.approx(whole.totals[unit], rel=1e-12)
    assert (whole.context, whole.totals["memory_bytes"]) == (
        900,
        max(second.totals["memory_bytes"], whole.totals["memory_bytes"]),
    )
    layers = dict(zip(whole.table["op"], whole.table["count"], strict=True))
    assert layers["pass 1: layers.*.self_attn.q_proj"] == 1
    assert layers["pass 2: layers.*.self_attn.q_proj"] == 3


def test_hip_pays_off_at_long_context(decoder: Graph) -> None:
    def ratio(context: int) -> float:
        seconds = [
            simulate(decoder, "a100-80g", phase="prefill", context=context, rewrites=text).seconds
            for text in (None, "hip:keep=64,sinks=4,window=32")
        ]
        return seconds[0] / seconds[1]

    assert 1 < ratio(2_000) < ratio(20_000) < ratio(200_000)


def test_the_cache_that_a_mask_keeps(decoder: Graph) -> None:
    """LM-Infinite forgets tokens, HiP keeps them all."""
    sizes = [
        simulate(decoder, "a100-80g", context=5000, rewrites=text).totals["memory_bytes"]
        for text in (None, "lm-infinite:sinks=4,window=64", "hip:keep=64,sinks=4,window=32")
    ]
    assert sizes[1] < sizes[0] == sizes[2]
    forgotten = 2 * 3 * 2 * 16 * 2 * (5000 - 68)  # keys and values, layers, heads, size, bytes
    assert sizes[0] - sizes[1] == forgotten


def test_energy_and_time_without_what_is_skipped(decoder: Graph) -> None:
    """A layer that is skipped altogether costs nothing but its place in memory."""
    launch = load_accelerator("a100-80g").with_(kernel_launch_s=1e-5)
    skipped = simulate(decoder, launch, rewrites="duo-llm:route=xxb,skip=layer")
    table = skipped.table[skipped.table["op"].str.contains("0-1")]
    assert len(table) > 5
    assert table["seconds"].sum() == 0
    plain = simulate(decoder, launch)
    assert skipped.totals["memory_bytes"] > plain.totals["memory_bytes"] * 0.99


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fidelity": "published", "rewrites": "hip"}, "a published simulator knows no rewrites"),
        ({"rewrites": "hipp"}, "unknown rewrite 'hipp': did you mean hip?"),
        ({"rewrites": ["gemfilter:layer=7"]}, "expected 0 to 2"),
    ],
)
def test_mistakes_are_one_line(decoder: Graph, options: dict, said: str) -> None:
    with pytest.raises(SpecError) as error:
        simulate(decoder, "a100-80g", **options)
    assert said in str(error.value)


def test_a_workload_is_bound_already(decoder: Graph) -> None:
    with pytest.raises(SpecError, match="a Workload is bound already"):
        simulate(decoder.bind("decode"), "a100-80g", rewrites="hip")


def test_a_family_without_the_search_refuses_it(decoder: Graph) -> None:
    with pytest.raises(SpecError, match="no cost for the search of a block-sparse mask"):
        simulate(decoder, "flightllm-u280", rewrites="hip", context=5000)
