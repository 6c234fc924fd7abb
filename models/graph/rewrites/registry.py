"""All rewrites by name, and the reading of ``NAME:key=value,key=value``."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Iterable
from typing import Any

from plait.errors import SpecError, unknown_name
from plait.models.graph.graph import Graph
from plait.models.graph.rewrites.base import Rewrite, Step

__all__ = [
    "apply",
    "change_graph",
    "describe",
    "parse",
    "parse_all",
    "rewrite_class",
    "rewrite_names",
]

# name -> module and class; a new rewrite adds its line here
_REWRITES = {
    "duo-llm": ("duo_llm", "DuoLLM"),
    "flat-gemm": ("flat_gemm", "FlatGEMM"),
    "gemfilter": ("gemfilter", "GemFilter"),
    "grouped-kv": ("grouped_kv", "GroupedKV"),
    "hip": ("hip", "HiP"),
    "kv-format": ("kv_format", "KVFormat"),
    "lm-infinite": ("lm_infinite", "LMInfinite"),
    "moe": ("moe", "MoE"),
    "unified-max": ("unified_max", "UnifiedMax"),
}


def rewrite_names() -> list[str]:
    """List the rewrites that `parse` knows.

    >>> "gemfilter" in rewrite_names()
    True
    """
    return sorted(_REWRITES)


def rewrite_class(name: str) -> type[Rewrite]:
    """Load the class of a rewrite."""
    if name not in _REWRITES:
        raise SpecError(unknown_name("rewrite", name, _REWRITES), where="rewrites")
    module, kind = _REWRITES[name]
    found: type[Rewrite] = getattr(
        importlib.import_module(f"plait.models.graph.rewrites.{module}"), kind
    )
    return found


def describe() -> list[dict[str, Any]]:
    """List every rewrite: name, summary, parameters with defaults, whether outputs change."""
    found = []
    for name in rewrite_names():
        kind = rewrite_class(name)
        parameters = {
            field.name: None if field.default is dataclasses.MISSING else field.default
            for field in dataclasses.fields(kind)
        }
        found.append(
            {
                "name": name,
                "summary": (kind.__doc__ or "").splitlines()[0],
                "parameters": parameters,
                "changes_outputs": kind.changes_outputs,
                "effect": kind.effect,
            }
        )
    return found


def parse(text: str | Rewrite) -> Rewrite:
    """Read one rewrite; a Rewrite is handed back.

    >>> parse("kv-format:format=int4").format
    'int4'
    """
    if isinstance(text, Rewrite):
        return text
    if not isinstance(text, str):
        expected = "such as lm-infinite:sinks=10,window=4096"
        raise SpecError("not a rewrite", where="rewrites", got=text, expected=expected)
    name, _, rest = (part.strip() for part in text.partition(":"))
    kind = rewrite_class(name)
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in types:
            raise SpecError(unknown_name("parameter", key, types), where=f"rewrite {name}")
        if key in values or not value:
            raise SpecError("not KEY=VALUE once", where=f"rewrite {name}", got=part)
        values[key] = _value(types[key], value, f"rewrite {name}: {key}")
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.name not in values
    ]
    if missing:
        raise SpecError("missing", where=f"rewrite {name}: {missing[0]}")
    return kind(**values)


def parse_all(rewrites: str | Rewrite | Iterable[str | Rewrite] | None) -> tuple[Rewrite, ...]:
    """Read one, several or no rewrites."""
    if rewrites is None:
        return ()
    if isinstance(rewrites, str | Rewrite):
        return (parse(rewrites),)
    return tuple(parse(one) for one in rewrites)


def apply(rewrites: Iterable[Rewrite], step: Step) -> tuple[Step, ...]:
    """Rewrite a step by all of ``rewrites``, in their order."""
    steps: tuple[Step, ...] = (step,)
    for one in rewrites:
        steps = tuple(made for before in steps for made in one.steps(before))
    return steps


def change_graph(graph: Graph, rewrites: str | Rewrite | Iterable[str | Rewrite]) -> Graph:
    """Change a graph; a rewrite that makes several runs of one has no single graph."""
    for one in parse_all(rewrites):
        if type(one).steps is not Rewrite.steps:
            raise SpecError(
                "changes the steps of a run, not the graph",
                where=f"rewrite {one.name}",
                expected="plait.simulate(..., rewrites=...)",
            )
        graph = one.change(graph).verify()
    return graph


def _value(kind: str, text: str, where: str) -> object:
    if kind == "str":
        return text
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
        if kind == "float" and math.isfinite(number):
            return number
        if kind == "int" and number.is_integer():
            return int(number)
    except (ValueError, OverflowError):
        pass
    expected = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
    raise SpecError("wrong type", where=where, got=text, expected=expected)
