"""Metrics: small cases by hand, SmolLM2's perplexities against the reference."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from plait.errors import FormatError, SpecError
from plait.models.llm import load_module
from plait.models.llm.texts import botchan
from plait.models.quantize.metrics import (
    kl_divergence,
    perplexity,
    sqnr_db,
    text_windows,
    top1_agreement,
)
from plait.models.quantize.swap import quantize_module

# First 56 windows of 512 tokens, groups of 64, FP32 scales. An independent program measured them
# with transformers' own model and the published rounding rules. Ours are within 0.02 %; many of
# these weights lie exactly between two values of a grid, and one wrong rule for ties is 0.4 %.
REFERENCE = {
    "bitmod4": 44.111,
    "bitmod3": 81.029,
    "int4": 51.274,
    "int4-asym": 43.459,
    "fp4": 46.916,
    "ant4": 47.194,
}
FP32, INT8_A_CHANNEL = 35.500, 35.535


class _Letters:
    """A tokenizer: one token a letter, with a start token unless told not to."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [0] * add_special_tokens + [ord(letter) % 8 for letter in text]


class _Bigram(nn.Module):
    """Logits that depend on the last token only, and on the place in the window."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
        self.tokenizer = _Letters()

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1])[:, None]
        return self.table[tokens] * (1 + places / 10)


def test_perplexity_by_hand() -> None:
    module, text = _Bigram(), "the whole text is tokenised once"
    tokens = _Letters().encode(text, add_special_tokens=False)
    losses = []
    for start in (0, 10, 20):
        for place in range(9):
            logits = module.table[tokens[start + place]] * (1 + place / 10)
            losses.append(-logits.log_softmax(0)[tokens[start + place + 1]].item())
    expected = math.exp(sum(losses) / 27)
    assert perplexity(module, text, window=10, windows=3) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("wrap", [lambda x: (x, None), lambda x: SimpleNamespace(logits=x)])
def test_what_a_module_may_return(wrap) -> None:  # type: ignore[no-untyped-def]
    module = _Bigram()
    expected = perplexity(module, "a" * 20, window=10, windows=2)
    forward = module.forward
    module.forward = lambda tokens: wrap(forward(tokens))  # type: ignore[method-assign]
    assert perplexity(module, "a" * 20, window=10, windows=2) == expected


def test_windows_are_the_first_ones() -> None:
    tokens = text_windows(_Bigram(), "abcdefgh", window=3, windows=2)
    assert tokens.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "short"}, "text: text too short, got '5 tokens', expected 20 or more"),
        ({"text": b"bytes"}, "text: not a text, got 'bytes'"),
        ({"windows": 0}, "windows: out of range, got 0, expected 1 or more"),
        ({"windows": True}, "windows: out of range"),
        ({"window": 1}, "window: out of range, got 1, expected 2 or more"),
        ({"window": 2.5}, "window: out of range"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, object], message: str) -> None:
    arguments = {"text": "a" * 20, "window": 10, "windows": 2} | changes
    with pytest.raises(SpecError) as caught:
        perplexity(_Bigram(), **arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_no_tokenizer_and_broken_logits() -> None:
    module = _Bigram()
    module.tokenizer = None  # type: ignore[assignment]
    with pytest.raises(SpecError, match="the module has no tokenizer"):
        perplexity(module, "a" * 20, window=10, windows=2)
    module.table[:] = torch.nan
    with pytest.raises(FormatError, match="logits are not numbers"):
        perplexity(module, "a" * 20, window=10, windows=2, tokenizer=_Letters())


def test_sqnr() -> None:
    signal = torch.tensor([3.0, 4.0])
    assert sqnr_db(signal, signal + torch.tensor([0.3, 0.4])) == pytest.approx(20)
    assert sqnr_db(signal, signal) == math.inf


def test_divergence_and_agreement() -> None:
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl_divergence(p.log() + 7, q.log()) == pytest.approx(expected, rel=1e-6)
    assert kl_divergence(p.log(), p.log()) == 0
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    changed = torch.tensor([[1.0, 9.0], [9.0, 1.0], [1.0, 0.0], [1.0, 0.5]])
    assert top1_agreement(logits, changed) == 0.75


@pytest.fixture(scope="module")
def smollm2() -> nn.Module:
    return load_module("smollm2-135m")


@pytest.mark.model
@pytest.mark.slow
def test_one_window_of_smollm2(smollm2: nn.Module) -> None:
    """3.592226 was computed with transformers' model and an FP64 cross entropy."""
    value = perplexity(smollm2, botchan(), windows=1)
    assert value == pytest.approx(math.exp(3.592226), rel=1e-4)
    small = perplexity(quantize_module(smollm2, "bitmod4", group_size=64), botchan(), windows=1)
    assert 1.1 * value < small < 1.6 * value


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.long
def test_fp32_perplexity_equals_the_reference(smollm2: nn.Module) -> None:
    assert perplexity(smollm2, botchan()) == pytest.approx(FP32, rel=1e-3)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("format", REFERENCE)
def test_perplexity_in_groups_equals_the_reference(smollm2: nn.Module, format: str) -> None:
    small = quantize_module(smollm2, format, group_size=64)
    assert perplexity(small, botchan()) == pytest.approx(REFERENCE[format], rel=1e-3)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.long
def test_int8_a_channel_equals_the_reference(smollm2: nn.Module) -> None:
    small = quantize_module(smollm2, "int8", group_size="channel")
    assert perplexity(small, botchan()) == pytest.approx(INT8_A_CHANNEL, rel=1e-3)
