"""How far quantised values are from the original: perplexity, SQNR, divergence, agreement.

Takes modules and text, or arrays; gives numbers. All in FP32; sums in FP64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.errors import FormatError, SpecError

__all__ = [
    "Comparison",
    "Yardstick",
    "compare",
    "greedy_agreement",
    "kl_divergence",
    "logits_of",
    "perplexity",
    "sqnr_db",
    "text_windows",
    "top1_agreement",
]

_LARGEST_EXPONENT = 709  # of a float64
_BATCH_TOKENS = 1024  # bounds the logits: 200 MB for a vocabulary of 49,152
_AT_ONCE = 4  # positions: what is computed of them in between stays in a cache


def perplexity(
    module: nn.Module,
    text: str,
    window: int = 512,
    windows: int = 56,
    tokenizer: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Perplexity of a causal LLM: exp of the mean negative log-likelihood of predicted tokens.

    The text is tokenised once, no token is added; windows do not overlap and know nothing of each
    other; in each, every token but the first is predicted.

    Args:
        module: takes tokens (batch, window); gives logits (batch, window, vocab), alone, first in
            a tuple, or as `.logits`.
        text: plain text.
        window: tokens of a window.
        windows: how many, from the start of the text.
        tokenizer: default: the module's own `.tokenizer`.
        progress: called with windows done and windows in all.
    """
    tokens = text_windows(module, text, window, windows, tokenizer)
    total = 0.0
    for done, batch in _batches(tokens):
        for logits, window_tokens in zip(logits_of(module, batch), batch, strict=True):
            total += _negative_log_likelihood(logits[:-1], window_tokens[1:])
        if progress:
            progress(done, windows)
    mean = total / (windows * (window - 1))
    if math.isnan(mean):
        raise FormatError("the model's logits are not numbers", where=type(module).__name__)
    return math.exp(mean) if mean < _LARGEST_EXPONENT else math.inf


def text_windows(
    module: nn.Module, text: str, window: int, windows: int, tokenizer: Any = None
) -> Tensor:
    """Tokens of the first windows of a text: (windows, window) integers."""
    for key, value, least in (("window", window, 2), ("windows", windows, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SpecError("out of range", where=key, got=value, expected=f"{least} or more")
    longest = getattr(getattr(module, "shape", None), "max_positions", window)
    if window > longest:
        raise SpecError(
            "longer than the model's context",
            where="window",
            got=window,
            expected=f"at most {longest}",
        )
    if not isinstance(text, str):
        raise SpecError("not a text", where="text", got=type(text).__name__)
    tokenizer = tokenizer or getattr(module, "tokenizer", None)
    if tokenizer is None:
        raise SpecError("the module has no tokenizer", where="tokenizer", expected="tokenizer=")
    tokens = tokenizer.encode(text, add_special_tokens=False)
    tokens = torch.tensor(getattr(tokens, "ids", tokens), dtype=torch.long)
    if len(tokens) < window * windows:
        raise SpecError(
            "text too short",
            where="text",
            got=f"{len(tokens)} tokens",
            expected=f"{window * windows} or more for {windows} windows of {window}",
        )
    return tokens[: window * windows].view(windows, window)


def logits_of(module: nn.Module, tokens: Tensor) -> Tensor:
    """Logits of a batch, float32 (batch, window, vocab), without gradients."""
    with torch.inference_mode():
        output = module(tokens)
    output = getattr(output, "logits", output)
    return (output[0] if isinstance(output, tuple | list) else output).float()


def sqnr_db(original: Tensor, changed: Tensor) -> float:
    """Signal to quantisation noise, 10 log10(sum x^2 / sum (x - y)^2), in dB; inf if equal."""
    signal = original.double().square().sum()
    noise = (original.double() - changed.double()).square().sum()
    return (10 * torch.log10(signal / noise)).item()


def kl_divergence(original: Tensor, changed: Tensor) -> float:
    """Mean KL(original || changed) of next-token distributions, in nats.

    Args:
        original, changed: logits (..., vocab).
    """
    found = []
    for pair in zip(_split(original), _split(changed), strict=True):
        p, q = (F.log_softmax(logits.double(), dim=-1) for logits in pair)
        found.append((p.exp() * (p - q)).sum(dim=-1))
    return torch.cat(found).mean().item()


def top1_agreement(original: Tensor, changed: Tensor) -> float:
    """Share of positions where both logits (..., vocab) name the same most likely token."""
    return (original.argmax(dim=-1) == changed.argmax(dim=-1)).double().mean().item()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two modules on one text: perplexities, KL in nats a token, share of equal top-1 tokens.

    Attributes:
        perplexity_error: standard error of ln(perplexity / perplexity of the original).
        kl_error, top1_error: standard errors of the two means. All are taken from the windows'
            own means; None of a single window.
    """

    perplexity: float
    perplexity_of_original: float
    kl_divergence: float
    top1_agreement: float
    perplexity_error: float | None = None
    kl_error: float | None = None
    top1_error: float | None = None


def compare(
    original: nn.Module,
    changed: nn.Module,
    text: str,
    window: int = 512,
    windows: int = 8,
    tokenizer: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Perplexity of both modules, KL(original || changed) and top-1 agreement in one pass.

    Perplexity hides changes that cancel: a module may be as sure of other tokens. KL and agreement
    look at every prediction. Windows are those of `perplexity`, every position counts.
    """
    tokens = text_windows(original, text, window, windows, tokenizer)
    found = []
    for done, batch in _batches(tokens):
        pair = [logits_of(module, batch) for module in (original, changed)]
        found += [_of_window(*three) for three in zip(*pair, batch, strict=True)]
        if progress:
            progress(done, windows)
    return _compared(found, changed)


class Yardstick:
    """What `compare` needs of the original, kept: many modules are compared with one.

    The logits stay in memory, 4 bytes times windows, tokens and vocabulary.
    """

    def __init__(
        self,
        original: nn.Module,
        text: str,
        window: int = 512,
        windows: int = 8,
        tokenizer: Any = None,
    ) -> None:
        self._windows = windows
        tokens = text_windows(original, text, window, windows, tokenizer)
        self._kept = [(done, batch, logits_of(original, batch)) for done, batch in _batches(tokens)]

    def compare(
        self, changed: nn.Module, progress: Callable[[int, int], None] | None = None
    ) -> Comparison:
        """The original and another module, as `compare`."""
        found = []
        for done, batch, logits in self._kept:
            three = zip(logits, logits_of(changed, batch), batch, strict=True)
            found += [_of_window(*one) for one in three]
            if progress:
                progress(done, self._windows)
        return _compared(found, changed)


def _of_window(one: Tensor, other: Tensor, tokens: Tensor) -> tuple[float, float, float, float]:
    """Mean losses of both, KL and agreement in one window."""
    count = len(tokens) - 1
    return (
        _negative_log_likelihood(one[:-1], tokens[1:]) / count,
        _negative_log_likelihood(other[:-1], tokens[1:]) / count,
        kl_divergence(one, other),
        top1_agreement(one, other),
    )


def _compared(windows: list[tuple[float, float, float, float]], changed: nn.Module) -> Comparison:
    table = torch.tensor(windows, dtype=torch.float64)
    original, mean, divergence, agreement = table.mean(dim=0).tolist()
    if math.isnan(original + mean):
        raise FormatError("the model's logits are not numbers", where=type(changed).__name__)
    errors: list[float | None] = [None] * 3
    if len(windows) > 1:
        each = torch.stack([table[:, 1] - table[:, 0], table[:, 2], table[:, 3]])
        errors = (each.std(dim=1) / math.sqrt(len(windows))).tolist()
    return Comparison(
        math.exp(min(mean, _LARGEST_EXPONENT)),
        math.exp(min(original, _LARGEST_EXPONENT)),
        divergence,
        agreement,
        *errors,
    )


def greedy_agreement(
    original: nn.Module,
    changed: nn.Module,
    text: str,
    prompts: int = 8,
    prompt_tokens: int = 32,
    tokens: int = 16,
    tokenizer: Any = None,
) -> float:
    """Share of equal tokens in greedy continuations of prompts, place by place.

    One other choice changes all that follows, so this falls faster than top-1 agreement, as
    what a user reads does.

    Args:
        text: its first prompts * prompt_tokens tokens are the prompts.
        tokens: of each continuation.
    """
    start = text_windows(original, text, prompt_tokens, prompts, tokenizer)
    first, second = (_continued(module, start, tokens) for module in (original, changed))
    return (first == second).double().mean().item()


def _continued(module: nn.Module, tokens: Tensor, count: int) -> Tensor:
    """(prompts, count) most likely tokens, each after all before it."""
    prompt = tokens.shape[1]
    for _ in range(count):
        following = logits_of(module, tokens)[:, -1].argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, following], dim=1)
    return tokens[:, prompt:]


def _negative_log_likelihood(logits: Tensor, following: Tensor) -> float:
    """Sum over positions of -log p(next token), with the sum over the vocabulary in FP64.

    `cross_entropy` sums in FP32, which is 2e-5 to 1e-4 low for a vocabulary of 50,000 (measured).
    """
    largest = logits.amax(dim=-1, keepdim=True)
    parts = zip(_split(logits), _split(largest), strict=True)
    weights = torch.cat([(a - b).exp().sum(dim=-1, dtype=torch.float64) for a, b in parts])
    chosen = logits.gather(-1, following[:, None]) - largest
    return (weights.log() - chosen[:, 0].double()).sum().item()


def _split(logits: Tensor) -> tuple[Tensor, ...]:
    """A few positions at a time, (positions, vocab) each."""
    return logits.reshape(-1, logits.shape[-1]).split(_AT_ONCE)


def _batches(tokens: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Windows in batches, each with the count of windows up to its end."""
    size = max(1, _BATCH_TOKENS // tokens.shape[1])
    for start in range(0, len(tokens), size):
        yield min(start + size, len(tokens)), tokens[start : start + size]
