"""The measured perplexity of number formats, kept by content so that a sweep pays for it once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plait.errors import PlaitError, SpecError
from plait.files import cache_folder, write_atomically

if TYPE_CHECKING:
    import torch

    from plait.sim.sweep.space import Space

__all__ = ["MODEL", "accuracy_columns", "perplexities"]

MODEL = "smollm2-135m"
_CODE = ("formats", "quantize", "llm")  # folders of models that decide the number


def accuracy_columns(space: Space) -> dict[str, dict[str | float, dict[str, float]]]:
    """Give the column ``perplexity`` by weight format, if the space asks for accuracy.

    Raises:
        SpecError: it asks, and no weight format is varied.
    """
    if space.accuracy is None:
        return {}
    axis = next((axis for axis in space.axes if axis.key == "formats.weight"), None)
    if axis is None:
        raise SpecError(
            "nothing to measure", where=f"{space.source}: accuracy",
            expected="formats.weight among the varied keys",
        )  # fmt: skip
    measured = perplexities(list(axis.values), **space.accuracy)
    return {axis.key: {name: {"perplexity": value} for name, value in measured.items()}}


def perplexities(
    formats: Sequence[str | float],
    windows: int,
    group_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str | float, float]:
    """Measure the perplexity of SmolLM2 with its block linears in each format.

    The weights come as Q4_1, which favours asymmetric 4-bit groups. Numbers are kept in the cache
    folder under a hash of the weights' file, the text, the code and the arguments.

    Args:
        formats: names; bits alone have no values, so they get none.
        windows: windows of 512 tokens from the start of Botchan.
        group_size: weights that share a scale.
        progress: called with formats done and formats in all.
    """
    found: dict[str | float, float] = {}
    named = [name for name in formats if isinstance(name, str)]
    for done, name in enumerate(named):
        found[name] = _kept(name, windows, group_size)
        if progress:
            progress(done + 1, len(named))
    return found


def _kept(name: str, windows: int, group_size: int) -> float:
    told = json.dumps([_content(), name, windows, group_size])
    key = hashlib.sha256(told.encode()).hexdigest()[:32]
    path = cache_folder() / "perplexity" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(path.read_text())["perplexity"])
    value = _measured(name, windows, group_size)
    with contextlib.suppress(OSError, PlaitError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as temporary:
            told_on = {"format": name, "windows": windows, "group_size": group_size}
            temporary.write_text(json.dumps({**told_on, "perplexity": value}))
    return value


def _measured(name: str, windows: int, group_size: int) -> float:
    from plait.models.formats import get
    from plait.models.llm.texts import botchan
    from plait.models.quantize.methods import quantize
    from plait.models.quantize.metrics import perplexity

    fmt = get(name)
    module = _module()
    if fmt.is_scaled:
        module = quantize(module, fmt, group_size=None if fmt.group_size else group_size)
    return perplexity(module, botchan(), window=512, windows=windows)


@functools.cache
def _module() -> torch.nn.Module:
    from plait.models.llm.weights import load_module

    return load_module(MODEL)


@functools.cache
def _content() -> str:
    """Hash of the weights, the text and the code between them and the number."""
    from plait.models.llm.texts import botchan
    from plait.models.llm.weights import smollm2_path

    digest = hashlib.sha256(botchan().encode())
    models = Path(__file__).parent / "models"
    sources = [path for folder in _CODE for path in sorted((models / folder).rglob("*.py"))]
    for path in (smollm2_path(), *sources):
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()
