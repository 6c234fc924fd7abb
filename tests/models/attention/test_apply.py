"""Rewritten modules: variants agree with plain attention where they must, cache or not."""

from __future__ import annotations

import pytest
import torch

from plait.errors import SpecError
from plait.models.attention import causal_attention, rewrite_module, round_kv, select_tokens
from plait.models.attention.evaluate import continuation_logits, long_context, needle_prompt
from plait.models.attention.unified_max import unified_max_attention
from plait.models.llm import build_decoder, load_shape

SIZES = {"layers": 3, "hidden": 64, "head_dim": 16, "heads": 4, "kv_heads": 2, "ffn": 96}
SHAPE = load_shape("smollm2-135m").with_(**SIZES, vocab=97, max_positions=4096)
TOKENS = torch.arange(150)[None] * 7 % 97


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return build_decoder(SHAPE, device="cpu").requires_grad_(False)


def logits(module, tokens=TOKENS):
    with torch.inference_mode():
        return module(tokens)[0]


EXACT = [
    "unified-max:low=-60,high=60",
    "unified-max:low=-0.01,high=0.01",  # every row is computed again
    "lm-infinite:sinks=4,window=200",
    "hip:keep=256,window=64",
    "flat-gemm:pad=8",
    "grouped-kv:kv_heads=2",
    "gemfilter:layer=1,keep=150",
    "duo-llm:route=bbb",
    "duo-llm:route=sss,small=96",
]


@pytest.mark.parametrize("text", EXACT)
def test_nothing_left_out_changes_nothing(module, text: str) -> None:
    got, plain = logits(rewrite_module(module, text)), logits(module)
    assert (got - plain).abs().max() < 1e-5


CHANGING = [
    "lm-infinite:sinks=4,window=32",
    "hip:keep=16,sinks=4,window=32",
    "kv-format:format=int4",
    "grouped-kv:kv_heads=1",
    "duo-llm:route=bsx,small=48",
    "duo-llm:route=bsx,skip=layer",
]


@pytest.mark.parametrize("text", CHANGING)
def test_leaving_out_changes_the_outputs(module, text: str) -> None:
    assert (logits(rewrite_module(module, text)) - logits(module)).abs().max() > 1e-3


@pytest.mark.parametrize("text", [*EXACT, *CHANGING])
def test_the_cache_gives_what_the_whole_prompt_gives(module, text: str) -> None:
    """Split at 96, a multiple of HiP's blocks of queries."""
    changed = rewrite_module(module, text)
    whole = logits(changed)
    with torch.inference_mode():
        _, keys, values = changed(TOKENS[:, :96])
        rest, _, _ = changed(TOKENS[:, 96:], keys, values)
    if text.startswith("lm-infinite:sinks=4,window=32"):
        return  # far sinks lie as far as the oldest token, so a longer cache moves them
    assert (rest - whole[:, 96:]).abs().max() < 1e-5


def test_lm_infinite_by_tokens_is_stationary_once_full(module) -> None:
    """With as many tokens as the limit before it, a longer cache moves no sink."""
    changed = rewrite_module(module, "lm-infinite:sinks=4,window=32")
    with torch.inference_mode():
        _, keys, values = changed(TOKENS[:, :96])
        rest, _, _ = changed(TOKENS[:, 96:], keys, values)
    assert (rest - logits(changed)[:, 96:]).abs().max() < 1e-5


def test_weights_are_shared(module) -> None:
    changed = rewrite_module(module, "hip")
    assert changed.embed_tokens.weight is module.embed_tokens.weight
    assert (
        changed.layers[0].self_attn.base.q_proj.weight is module.layers[0].self_attn.q_proj.weight
    )


def test_unified_max_recomputes_only_rows_that_fail() -> None:
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(h, 40, 16, generator=generator) * 3 for h in (4, 2, 2))
    plain = causal_attention(q, k, v)
    wide = unified_max_attention(q, k, v, phi=0.0, low=-80, high=80)
    some = unified_max_attention(q, k, v, phi=0.0, low=-20, high=20)
    assert (wide.recomputed, 0 < some.recomputed < 1) == (0.0, True)
    for found in (wide, some):
        assert (found.output - plain).abs().max() < 1e-5
    assert some.lowest < -20 or some.highest > 20


@pytest.mark.parametrize(
    ("format", "most"), [("int8", 0.5 / 127), ("int4", 0.5 / 7), ("fp16", 1e-3)]
)
def test_rounding_of_a_head(format: str, most: float) -> None:
    kv = torch.randn(2, 30, 64, generator=torch.Generator().manual_seed(0))
    error = (round_kv(kv, format) - kv).abs().amax(dim=-1) / kv.abs().amax(dim=-1)
    assert error.max() <= most * 1.001
    assert error.max() > most / 10


def test_gemfilter_finds_the_tokens_that_the_query_points_to() -> None:
    k = torch.zeros(2, 50, 8)
    k[:, 20:25, 0] = 1.0
    query = torch.zeros(4, 8)
    query[:, 0] = 1.0
    assert select_tokens(query, k, keep=5).tokens.tolist() == [20, 21, 22, 23, 24]
    assert select_tokens(query, k, keep=99).tokens.tolist() == list(range(50))


def test_gemfilter_shortens_a_prompt(module) -> None:
    changed = rewrite_module(module, "gemfilter:layer=1,keep=20")
    assert logits(changed).shape == (1, 20, 97)
    assert len(changed.selected) == 20
    direct = logits(module, TOKENS[:, changed.selected])
    assert torch.equal(logits(changed), direct)


class Letters:
    """A tokenizer of single characters."""

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [ord(letter) % 97 for letter in text]


def test_long_context(module) -> None:
    module.tokenizer = Letters()
    text = "".join(chr(97 + n * n % 23) for n in range(900))
    done: list[tuple[int, int]] = []
    frame = long_context(
        module,
        text,
        (160, 300),
        continuation=9,
        windows=2,
        needles=1,
        progress=lambda *p: done.append(p),
    )
    assert frame["context"].tolist() == [160, 300]
    assert (frame["perplexity"] > 1).all()
    assert done[-1] == (6, 6)
    tokens = torch.arange(600) % 97
    after = tokens[520:530]
    whole = logits(module, tokens[None, :529])[0, 519:]  # one run, no chunks
    assert (continuation_logits(module, tokens[:520], after) - whole).abs().max() < 1e-5
    prompt = needle_prompt(module, tokens, 200, "12345", 0.5)
    assert len(prompt) == 200


@pytest.mark.parametrize(
    ("rewrites", "said"),
    [
        ("moe:experts=8,active=2", "has no values: its weights must be trained"),
        (["hip", "lm-infinite"], "only one way to attend at a time, got 'hip, lm-infinite'"),
        ("duo-llm:route=bs", "route: not a letter a layer"),
        ("duo-llm", "a choice by token needs a trained router"),
        ("gemfilter:layer=3", "no such layer, got 3, expected 0 to 2"),
    ],
)
def test_mistakes_are_one_line(module, rewrites, said: str) -> None:
    with pytest.raises(SpecError) as error:
        rewrite_module(module, rewrites)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"contexts": (5000,)}, "longer than the model's context, got 5000"),
        ({"contexts": ()}, "context: missing"),
        ({"contexts": (0,)}, "context: out of range, got 0"),
        ({"contexts": (800,)}, "text: text too short"),
        ({"contexts": (40,), "windows": 0}, "windows: out of range"),
        ({"contexts": (40,), "needles": 1}, "too short for a needle, got 40"),
    ],
)
def test_bad_measurements_are_one_line(module, options, said: str) -> None:
    module.tokenizer = Letters()
    with pytest.raises(SpecError) as error:
        long_context(module, "abcdefghij" * 60, **options)
    assert said in str(error.value)


def test_only_decoders() -> None:
    with pytest.raises(SpecError, match="not a decoder of this package"):
        rewrite_module(torch.nn.Linear(2, 2), "hip")
