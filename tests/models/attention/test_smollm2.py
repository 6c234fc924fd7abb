"""Variants on real weights: what they must not change, and a needle that the plain model finds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

import plait

pytestmark = [pytest.mark.model, pytest.mark.slow]

TEXT = Path(plait.__file__).parent / "models/llm/data/text_botchan.txt.gz"


@pytest.fixture(scope="module")
def smollm():
    return plait.load_module("smollm2-135m")


@pytest.fixture(scope="module")
def text() -> str:
    return gzip.decompress(TEXT.read_bytes()).decode()


@pytest.fixture(scope="module")
def tokens(smollm, text: str) -> torch.Tensor:
    encoded = smollm.tokenizer.encode(text[:2000], add_special_tokens=False)
    return torch.tensor(getattr(encoded, "ids", encoded))[None, :200]


def logits(module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return module(tokens)[0]


def test_unified_max_on_real_scores(smollm, tokens) -> None:
    """Some of this model's scores are below -60: only wide bounds recompute nothing."""
    plain = logits(smollm, tokens)
    shares = {}
    for bounds in ("low=-80,high=80", "low=-16.8,high=6.5"):  # the second are Llama-2-7B's
        changed = plait.rewrite(smollm, f"unified-max:{bounds}")
        assert (logits(changed, tokens) - plain).abs().max() < 1e-3
        attention = [layer.self_attn for layer in changed.layers]
        shares[bounds] = sum(a.recomputed for a in attention) / sum(a.rows for a in attention)
        assert -80 < min(a.lowest for a in attention) < -40
        assert 10 < max(a.highest for a in attention) < 80
    wide, narrow = shares.values()
    assert wide == 0
    assert narrow == pytest.approx(0.238, abs=0.01)


@pytest.mark.parametrize("rewrite", ["lm-infinite:window=256", "hip:keep=256", "flat-gemm"])
def test_masks_that_see_all_change_nothing(smollm, tokens, rewrite: str) -> None:
    changed = plait.rewrite(smollm, rewrite)
    assert (logits(changed, tokens) - logits(smollm, tokens)).abs().max() < 1e-3


def test_needle(smollm, text: str) -> None:
    """The plain model finds the pass key; a window that has passed it by does not."""
    measured = {
        name: plait.long_context(module, text, (256,), continuation=8, windows=1, needles=1)
        for name, module in (
            ("plain", smollm),
            ("window", plait.rewrite(smollm, "lm-infinite:sinks=4,window=60")),
        )
    }
    found = {name: frame["needles_found"].item() for name, frame in measured.items()}
    assert found == {"plain": 1, "window": 0}
