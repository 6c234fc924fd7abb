"""Readable names: where an op's module sits, and what the op does there if that is not enough."""

from __future__ import annotations

import dataclasses
from collections import Counter

from plait.models.graph.ops import Op
from plait.models.graph.program import Program

__all__ = ["name_nodes", "strip"]

_WRAPPERS = ("model", "transformer", "decoder", "language_model", "gpt_neox", "backbone")


def strip(path: str) -> str:
    """Take wrappers off the head of a module path.

    >>> strip("model.decoder.layers.0.fc1"), strip("model"), strip("lm_head")
    ('layers.0.fc1', '', 'lm_head')
    """
    parts = path.split(".")
    while parts and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return ".".join(parts)


def name_nodes(program: Program, ops: dict[str, Op]) -> list[Op]:
    """Give the ops of a program their paths, with real layer numbers, and inputs by path."""
    paths = [program[name].path for name in ops]
    alone = {path for path, count in Counter(paths).items() if count == 1}
    parents = {path[:i] for path in paths for i, letter in enumerate(path) if letter == "."}
    names: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name, op in ops.items():
        path = program[name].path
        base = strip(_stored_at(program, name, op) or path)
        if not _is_stored(op) and not (path in alone and path not in parents and base):
            base = f"{base}.{_suffix(op)}".lstrip(".")
        taken[base] += 1
        names[name] = base if taken[base] == 1 else f"{base}_{taken[base]}"
    return [
        dataclasses.replace(op, path=names[name], inputs=tuple(names[i] for i in op.inputs))
        for name, op in ops.items()
    ]


def _is_stored(op: Op) -> bool:
    return op.has_weight or op.kind in ("norm", "embedding")


def _stored_at(program: Program, name: str, op: Op) -> str:
    """Where the weight of an op is kept, if that says more than the module that uses it.

    A tied weight is kept elsewhere: the module's path is the better name.
    """
    if not _is_stored(op):
        return ""
    node = program[name]
    for parameter in (p for ref in node.refs for p in program.parameters_behind(ref)):
        owner, _, leaf = str(program[parameter].args["name"]).rpartition(".")
        if owner == node.path and leaf not in ("weight", "bias"):
            return f"{owner}.{leaf}".lstrip(".")
    return ""


def _suffix(op: Op) -> str:
    if op.kind == "rope":
        return {"query": "q_rope", "key": "k_rope"}.get(op.function, "rope")
    return op.function or op.kind
