"""Long-context accuracy: perplexity of the same tokens after more and more context, and a needle.

Takes a module (plain or rewritten) and a text; gives a row a context. Prompts run in chunks through
the cache, so that the logits of a long prompt are never held at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plait.errors import SpecError
from plait.models.attention.apply import FilteredDecoder

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONTEXTS", "LongContext", "continuation_logits", "long_context", "needle_prompt"]

Progress = Callable[[int, int], None]

CONTEXTS = (256, 512, 1024)
"""Tokens before the predicted ones, where none are named."""

_CHUNK = 512  # tokens of a prompt run at once: 100 MB of logits for a vocabulary of 49,152
_NEEDLE = " The pass key is {key}. Remember it. {key} is the pass key. "
_QUESTION = "\n\nWhat is the pass key? The pass key is "
_KEYS = ("71432", "50918", "26375", "94061", "38247", "15693")


@dataclass(frozen=True, slots=True)
class LongContext:
    """What is measured at one context.

    Attributes:
        context: tokens before those that are predicted.
        perplexity: of the continuations; the same tokens whatever the context.
        needles_found, needles: pass keys that were the most likely digits throughout.
    """

    context: int
    perplexity: float
    needles_found: int
    needles: int


def long_context(
    module: nn.Module,
    text: str,
    contexts: Sequence[int] = CONTEXTS,
    *,
    continuation: int = 64,
    windows: int = 2,
    needles: int = 3,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure a module at growing context: a row a context, the fields of `LongContext`.

    Perplexity counts the tokens of a continuation but the first, whose logits a filtered prompt
    may take from another token. A needle is a pass key of five digits in one of several places of
    the text, asked for at the end.

    Args:
        module: a decoder with a ``.tokenizer``, see `plait.models.attention.rewrite_module`.
        text: plain text, long enough for the longest context.
        contexts: tokens.
        continuation: tokens predicted, of which the first is not counted.
        windows: continuations, spread over the text.
        needles: pass keys, spread over the context; 0 for none.
        progress: called with prompts done and prompts in all.
    """
    import pandas as pd

    _check(module, contexts, continuation, windows, needles)
    tokens = _tokens(module, text)
    starts = _starts(len(tokens), max(contexts), continuation, windows)
    steps = len(contexts) * (windows + needles)
    done, rows = 0, []
    for context in contexts:
        total = 0.0
        for start in starts:
            before, after = tokens[start - context : start], tokens[start : start + continuation]
            total += _negative_log_likelihood(continuation_logits(module, before, after), after)
            done += 1
            if progress:
                progress(done, steps)
        found = 0
        for index in range(needles):
            found += _finds(module, tokens, context, index, needles)
            done += 1
            if progress:
                progress(done, steps)
        mean = total / (windows * (continuation - 1))
        rows.append(LongContext(context, math.exp(mean), found, needles))
    return pd.DataFrame([{name: getattr(row, name) for name in row.__slots__} for row in rows])


def continuation_logits(module: nn.Module, prompt: Tensor, after: Tensor) -> Tensor:
    """Logits that predict each token of ``after`` [tokens] in turn, after ``prompt`` [tokens].

    Returns:
        float32 [after, vocab].
    """
    chunk = len(prompt) if isinstance(module, FilteredDecoder) else _CHUNK
    keys = values = None
    with torch.inference_mode():
        for start in range(0, len(prompt), chunk):
            part = prompt[None, start : start + chunk]
            logits, keys, values = module(part, keys, values)
        last = logits[0, -1:]
        if len(after) == 1:
            return last
        rest, _, _ = module(after[None, :-1], keys, values)
    return torch.cat((last, rest[0])).float()


def needle_prompt(
    module: nn.Module, filler: Tensor, context: int, key: str, depth: float
) -> Tensor:
    """Tokens of a prompt of ``context`` tokens with a pass key at ``depth`` (0 first, 1 last)."""
    needle, question = (_tokens(module, part.format(key=key)) for part in (_NEEDLE, _QUESTION))
    room = context - len(needle) - len(question)
    if room < 0:
        least = len(needle) + len(question)
        raise SpecError(
            "too short for a needle", where="context", got=context, expected=f"{least} or more"
        )
    place = round(depth * room)
    return torch.cat((filler[:place], needle, filler[place:room], question))


def _finds(module: nn.Module, filler: Tensor, context: int, index: int, needles: int) -> bool:
    """Whether every digit of the key is the most likely token after those before it."""
    key = _KEYS[index % len(_KEYS)]
    prompt = needle_prompt(module, filler, context, key, (index + 0.5) / needles)
    digits = _tokens(module, key)
    logits = continuation_logits(module, prompt, digits)
    return bool((logits.argmax(dim=-1) == digits).all())


def _negative_log_likelihood(logits: Tensor, after: Tensor) -> float:
    """Sum over all tokens but the first, in FP64."""
    chances = logits[1:].double().log_softmax(dim=-1)
    return -chances.gather(1, after[1:, None]).sum().item()


def _tokens(module: nn.Module, text: str) -> Tensor:
    tokenizer = getattr(module, "tokenizer", None)
    if tokenizer is None:
        raise SpecError("the module has no tokenizer", where="tokenizer")
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return torch.tensor(getattr(tokens, "ids", tokens), dtype=torch.long)


def _starts(total: int, longest: int, continuation: int, windows: int) -> list[int]:
    """Where the continuations begin: spread evenly, each with the longest context before it."""
    last = total - continuation
    if last < longest:
        raise SpecError(
            "text too short",
            where="text",
            got=f"{total} tokens",
            expected=f"{longest + continuation} or more",
        )
    return [longest + (last - longest) * index // max(windows, 1) for index in range(windows)]


def _check(
    module: nn.Module, contexts: Sequence[int], continuation: int, windows: int, needles: int
) -> None:
    longest = int(getattr(module, "shape").max_positions)  # noqa: B009 - a Module has any name
    ranges = [("continuation", continuation, 2), ("windows", windows, 1), ("needles", needles, 0)]
    for key, value, least in [*ranges, *(("context", context, 1) for context in contexts)]:
        if value < least:
            raise SpecError("out of range", where=key, got=value, expected=f"{least} or more")
    if not contexts:
        raise SpecError("missing", where="context")
    if max(contexts) + continuation > longest:
        raise SpecError(
            "longer than the model's context",
            where="context",
            got=max(contexts),
            expected=f"{longest - continuation} or less",
        )
