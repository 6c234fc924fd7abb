"""Binding: sizes, phases, experts, windows, formats and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.models import formats
from plait.models.graph import Graph, Op
from plait.models.graph.workload import expected_experts

LAYERS = (0, 1, 2)
GRAPH = Graph(
    "toy",
    (
        Op("embed", "embedding", width=64, parameters=640),
        Op("layers.*.norm", "norm", "rms_norm", width=64, parameters=64, layers=LAYERS),
        Op("layers.*.q_proj", "linear", cin=64, cout=64, layers=LAYERS),
        Op("layers.*.k_proj", "linear", cin=64, cout=32, kv_cout=32, layers=LAYERS),
        Op(
            "layers.*.attention",
            "attention",
            heads=4,
            kv_heads=2,
            head_dim=16,
            width=64,
            causal=True,
            operands=3,
            layers=LAYERS,
        ),
        Op(
            "layers.*.experts.up",
            "experts",
            rows="routed",
            cin=64,
            cout=100,
            experts=8,
            experts_active=2,
            layers=LAYERS,
        ),
        Op("lm_head", "linear", cin=64, cout=10, is_output=True),
    ),
)


def windowed(window: int, causal: bool = True) -> Graph:
    op = Op(
        "a", "attention", heads=1, kv_heads=1, head_dim=4, width=4, causal=causal, window=window
    )
    return Graph("toy", (op,))


def test_sizes_of_both_phases() -> None:
    decode = GRAPH.bind("decode", batch=3, context=50)
    assert (decode.query, decode.context, decode.batch, len(decode)) == (1, 50, 3, 7)
    table = decode.table.set_index("op")
    assert table.tokens["lm_head"] == 3
    assert table.elements["layers.*.norm"] == 3 * 64
    assert table["count"].tolist() == [1, 3, 3, 3, 3, 3, 1]
    prefill = GRAPH.bind("prefill", batch=3, context=50)
    assert prefill.query == 50
    assert prefill.table.set_index("op").tokens["layers.*.q_proj"] == 150
    assert not decode.table.isna().any().any()


@given(tokens=st.integers(1, 5000))
def test_experts_share_all_rows(tokens: int) -> None:
    row = (
        GRAPH.bind("decode", batch=tokens, context=4)
        .table.set_index("op")
        .loc["layers.*.experts.up"]
    )
    assert row.tokens * row.experts_touched == pytest.approx(2 * tokens, rel=1e-12)
    assert 2 <= row.experts_touched <= 8


def test_expected_experts_against_drawing_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        len({e for _ in range(3) for e in rng.choice(8, size=2, replace=False)})
        for _ in range(4000)
    ]
    assert expected_experts(8, 2, 3) == pytest.approx(np.mean(drawn), rel=0.02)


@given(
    context=st.integers(1, 40),
    window=st.integers(0, 50),
    causal=st.booleans(),
    phase=st.sampled_from(["prefill", "decode"]),
)
def test_pairs_are_those_of_the_mask(context: int, window: int, causal: bool, phase: str) -> None:
    work = windowed(window, causal).bind(phase, context=context)
    query = np.arange(context - work.query, context)[:, None]
    key = np.arange(context)[None, :]
    mask = np.ones((work.query, context), dtype=bool)
    if causal:
        mask &= key <= query
        if window:
            mask &= key > query - window
        assert work.columns["pairs"][0] == mask.sum()
        assert work.columns["keys"][0] == mask.any(axis=0).sum()
    elif not window:
        assert work.columns["pairs"][0] == mask.sum()


def test_formats_from_all_four_places() -> None:
    kept = Op(
        "kept", "linear", cin=64, cout=8, weight_format="int8", weight_bits=8.25, group_size=64
    )
    plain = Op("plain", "linear", cin=64, cout=8)
    graph = Graph("toy", (kept, plain))
    bits = lambda **given: graph.bind(**given).columns["weight_bits"].tolist()  # noqa: E731
    assert bits() == [8.25, 16]
    assert bits(defaults="w4a8kv8") == [8.25, 4]
    assert bits(formats={"weight": 3}) == [3, 3]
    assert bits(formats={"plain": {"weight": 2}}, defaults="w4a8kv8") == [8.25, 2]
    work = graph.bind(defaults="w4a8kv8")
    assert work.columns["weight_format"].tolist() == ["int8", ""]
    assert work.columns["group_size"].tolist() == [64, 0]
    assert work.columns["activation_bits"].tolist() == [8, 8]


def test_names_are_charged_their_true_storage() -> None:
    given = {"weight": "bitmod4", "activation": "fp16", "kv": "int8"}
    table = GRAPH.bind(formats=given).table.set_index("op")
    bitmod4 = formats.get("bitmod4").bits_per_weight(128, 64, 16)
    assert table.weight_bits["layers.*.q_proj"] == bitmod4
    assert table.group_size["layers.*.q_proj"] == 128
    ternary = GRAPH.bind(formats={"weight": "ternary"}).table.set_index("op")
    assert ternary.weight_bits["layers.*.q_proj"] == 2  # one scale a tensor
    assert ternary.group_size["layers.*.q_proj"] == 64  # its 64 inputs are one group
    assert table.kv_bits["layers.*.attention"] == 8 + 16 / 16  # a scale a head of 16
    assert table.activation_bits["lm_head"] == 16
    assert table.weight_bits["embed"] == 16  # not unless it is named
    assert table.kv_bits["layers.*.q_proj"] == 0
    assert table.kv_format["layers.*.k_proj"] == "int8"
    assert table.kv_bits["layers.*.k_proj"] == table.kv_bits["layers.*.attention"]


def test_patterns_split_layers() -> None:
    given = {"*": "w4a16kv16", "layers.1.*": {"weight": 8}, "lm_head": {"weight": "fp16"}}
    table = GRAPH.bind(formats=given).table.set_index("op")
    assert table.weight_bits["layers.0,2.q_proj"] == 4
    assert table.weight_bits["layers.1.q_proj"] == 8
    assert table["count"]["layers.0,2.q_proj"] == 2
    assert table.weight_bits["lm_head"] == 16
    ends = GRAPH.bind(formats={"q_proj": {"weight": 5}}).table.set_index("op")
    assert ends.weight_bits["layers.*.q_proj"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "train"}, "unknown phase 'train'"),
        ({"phase": "Decode"}, "did you mean decode"),
        ({"batch": 0}, "batch: batch must be a whole number, got 0"),
        ({"batch": True}, "batch must be"),
        ({"batch": 1.5}, "batch must be"),
        ({"context": 0}, "context must be"),
        ({"context": -3}, "context must be"),
        ({"context": 2**60}, "context must be"),
        ({"context": "many"}, "context must be"),
        ({"formats": "w4"}, "expected a form like w4a16kv16"),
        ({"formats": 4}, "not formats"),
        ({"formats": {"weight": "bitmod5"}}, "did you mean bitmod"),
        ({"formats": {"weight": "int4", "wieght": 3}}, "unknown role of a format"),
        ({"formats": {"weight": -1}}, "not a format"),
        ({"formats": {"weight": 65}}, "not a format"),
        ({"formats": {"weight": True}}, "not a format"),
        ({"formats": {"weight": float("nan")}}, "not a format"),
        ({"formats": {"layers.*.v_proj": {"weight": 4}}}, "unknown op"),
        ({"formats": {"lm_head": 4}}, "not formats"),
        ({"formats": {3: {"weight": 4}}}, "not formats"),
        ({"defaults": {"weight": "nothing"}}, "defaults: weight: unknown format"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        GRAPH.bind(**arguments)
    assert "\n" not in str(caught.value)
