"""A small decoder written out by hand, so that these tests need neither export nor torch."""

from __future__ import annotations

import pytest

from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op

LAYERS = (0, 1, 2)
HIDDEN, FFN, VOCAB, HEADS, KV_HEADS, HEAD_DIM = 96, 200, 500, 6, 2, 16


def _linear(name: str, cin: int, cout: int, kv_cout: int = 0) -> Op:
    return Op(
        f"layers.*.{name}", "linear", layers=LAYERS, cin=cin, cout=cout, kv_cout=kv_cout,
        parameters=cin * cout,
    )  # fmt: skip


def _pointwise(name: str, kind: str, function: str, width: int, operands: int = 1) -> Op:
    return Op(
        f"layers.*.{name}", kind, function=function, layers=LAYERS, width=width, operands=operands
    )


@pytest.fixture(scope="session")
def decoder() -> Graph:
    """Three layers with grouped heads, a gated feed-forward part and odd sizes."""
    kv = KV_HEADS * HEAD_DIM
    rope = {"kind": "rope", "layers": LAYERS, "head_dim": HEAD_DIM}
    return Graph(
        "toy",
        (
            Op("embed", "embedding", width=HIDDEN, parameters=VOCAB * HIDDEN),
            _pointwise("norm1", "norm", "rms_norm", HIDDEN),
            _linear("q_proj", HIDDEN, HIDDEN),
            _linear("k_proj", HIDDEN, kv, kv_cout=kv),
            _linear("v_proj", HIDDEN, kv, kv_cout=kv),
            Op("layers.*.q_rope", heads=HEADS, width=HIDDEN, **rope),
            Op("layers.*.k_rope", heads=KV_HEADS, width=kv, **rope),
            Op(
                "layers.*.attention", "attention", layers=LAYERS, heads=HEADS, kv_heads=KV_HEADS,
                head_dim=HEAD_DIM, causal=True,
            ),
            _linear("o_proj", HIDDEN, HIDDEN),
            _pointwise("add1", "elementwise", "add", HIDDEN, operands=2),
            _pointwise("norm2", "norm", "rms_norm", HIDDEN),
            _linear("gate_proj", HIDDEN, FFN),
            _linear("up_proj", HIDDEN, FFN),
            _pointwise("act", "activation", "silu", FFN),
            _pointwise("mul", "elementwise", "mul", FFN, operands=2),
            _linear("down_proj", FFN, HIDDEN),
            _pointwise("add2", "elementwise", "add", HIDDEN, operands=2),
            Op("norm", "norm", function="rms_norm", width=HIDDEN),
            Op(
                "lm_head", "linear", cin=HIDDEN, cout=VOCAB, is_output=True,
                parameters=HIDDEN * VOCAB,
            ),
        ),
    ).verify()  # fmt: skip


@pytest.fixture(scope="session")
def mixture() -> Graph:
    """One layer of 8 experts, 2 of them visited."""
    return Graph(
        "mixture",
        (
            Op(
                "layers.*.experts.up", "experts", layers=LAYERS, cin=HIDDEN, cout=FFN, experts=8,
                experts_active=2, rows="routed", parameters=8 * HIDDEN * FFN,
            ),
        ),
    ).verify()  # fmt: skip
