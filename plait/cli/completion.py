"""What the shell offers when a word is half typed: names of models, machines, formats, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["formats", "machines", "models", "one_of"]

Completion = Callable[[str], list[str]]


def one_of(*choices: str) -> Completion:
    """Give the completion of an option that takes few values.

    >>> one_of("decode", "prefill")("de")
    ['decode']
    """
    return lambda incomplete: _beginning(choices, incomplete)


def models(incomplete: str) -> list[str]:
    """Names of published models that begin so."""
    from plait.models.llm.config import shape_names
    from plait.models.llm.matmul_free_shape import matmul_free_names

    return _beginning([*shape_names(), *matmul_free_names()], incomplete)


def machines(incomplete: str) -> list[str]:
    """Names of published machines that begin so."""
    from plait.sim.spec import accelerator_names

    return _beginning(accelerator_names(), incomplete)


def formats(incomplete: str) -> list[str]:
    """Names of number formats that begin so."""
    from plait.models.formats import names

    return _beginning(names(), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
