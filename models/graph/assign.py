"""Which number format each op uses: the argument, the graph, the machine's preset, then fp16."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from plait.errors import FormatError, SpecError, unknown_name
from plait.models.graph.ops import Op, member

if TYPE_CHECKING:
    from plait.models.graph.graph import Graph

__all__ = ["ROLES", "assign_formats", "kv_storage_bits", "parse_formats"]

ROLES = ("weight", "activation", "kv")
SCALE_BITS = 16

_SHORTHAND = re.compile(r"w(\d+(?:\.\d+)?)a(\d+(?:\.\d+)?)kv(\d+(?:\.\d+)?)")
_MOST_BITS = 64.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Formats of the ops whose name fits ``pattern`` ('' = every op): role -> name or bits."""

    pattern: str
    roles: Mapping[str, str | float]


def assign_formats(
    graph: Graph, formats: object, defaults: object = None
) -> tuple[tuple[Op, ...], dict[str, np.ndarray]]:
    """Give every op its formats.

    ``formats`` wins over what the graph keeps from a quantised module, that over ``defaults`` (a
    machine's preset), that over fp16. Both are read by `parse_formats`. A repeated op whose layers
    get different formats is split.

    A name is charged its true storage: weights in the groups of the format, 128 for most, with an
    FP16 scale each (ternary: one scale a tensor, so none a weight) or their codebooks, keys and
    values with a scale a head and token, activations with a scale a token. A number is bits alone.
    The embedding changes only by a rule that names it.

    Returns:
        The ops, and the columns weight_bits, activation_bits, kv_bits (float64), weight_format,
        activation_format, kv_format (objects) and group_size.
    """
    first, last = parse_formats(formats, "formats"), parse_formats(defaults, "defaults")
    for rule in (*first, *last):
        _check_pattern(graph, rule)
    head_dim = next((op.head_dim for op in graph.ops if op.kind == "attention"), 0)
    ops = tuple(part for op in graph.ops for part in _split(op, (*first, *last)))
    columns: dict[str, list] = {
        f"{role}_{part}": [] for part in ("format", "bits") for role in ROLES
    }
    columns["group_size"] = []
    for op in ops:
        for role in ROLES:
            name, bits, group = _resolve(op, role, first, last, head_dim)
            columns[f"{role}_format"].append(name)
            columns[f"{role}_bits"].append(bits)
            if role == "weight":
                columns["group_size"].append(group)
    kinds = {"format": object, "bits": np.float64, "size": np.int64}
    return ops, {k: np.array(v, dtype=kinds[k.rsplit("_")[-1]]) for k, v in columns.items()}


def parse_formats(formats: object, where: str = "formats") -> tuple[Rule, ...]:
    """Read formats, later rules winning.

    Args:
        formats: None; "w4a16kv16" (bits alone); {"weight": "int4", "activation": "fp16", "kv": 8}
            (names or bits, any of the three); or a mapping from a pattern of op names to such a
            mapping or string: {"*": "w4a16kv16", "lm_head": {"weight": "fp16"}}. A pattern is a
            whole name or its end, with * and ?.
        where: what an error calls this argument.

    >>> parse_formats("w4a16kv8")
    (Rule(pattern='', roles={'weight': 4.0, 'activation': 16.0, 'kv': 8.0}),)
    """
    if formats is None:
        return ()
    if isinstance(formats, str) or (isinstance(formats, Mapping) and set(formats) & set(ROLES)):
        return (Rule("", _roles(formats, where)),)
    if not isinstance(formats, Mapping):
        raise SpecError(
            "not formats", where=where, got=formats, expected='a mapping or "w4a16kv16"'
        )
    for pattern, value in formats.items():
        if not isinstance(pattern, str) or not isinstance(value, str | Mapping):
            known = "weight, activation, kv or patterns of op names"
            raise SpecError("not formats", where=f"{where}: {pattern}", got=value, expected=known)
    return tuple(
        Rule(pattern, _roles(value, f"{where}: {pattern}")) for pattern, value in formats.items()
    )


def _roles(value: str | Mapping, where: str) -> dict[str, str | float]:
    if isinstance(value, str):
        match = _SHORTHAND.fullmatch(value)
        if not match:
            raise SpecError("not formats", where=where, got=value, expected="a form like w4a16kv16")
        return {r: _checked(float(b), where) for r, b in zip(ROLES, match.groups(), strict=True)}
    for role in value:
        if role not in ROLES:
            raise SpecError(unknown_name("role of a format", role, ROLES), where=where)
    return {role: _checked(spec, f"{where}: {role}") for role, spec in value.items()}


def _checked(spec: object, where: str) -> str | float:
    """A known format name, or bits as a float."""
    from plait.models import formats

    if isinstance(spec, str):
        try:
            return formats.get(spec).name  # also names with sizes in them, as aqlm-1x8-g8
        except FormatError:
            raise SpecError(unknown_name("format", spec, formats.names()), where=where) from None
    number = isinstance(spec, int | float | np.number) and not isinstance(spec, bool)
    if not number or not 0 < spec <= _MOST_BITS:  # type: ignore[operator]
        raise SpecError("not a format", where=where, got=spec, expected="a name, or bits up to 64")
    return float(spec)  # type: ignore[arg-type]


def _matches(rule: Rule, name: str) -> bool:
    pattern = rule.pattern
    return not pattern or fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _check_pattern(graph: Graph, rule: Rule) -> None:
    if not rule.pattern:
        return
    names = [name for op in graph.ops for name in op.members()]
    if not any(_matches(rule, name) for name in names):
        known = [graph.display_name(op) for op in graph.ops]
        raise SpecError(unknown_name("op", rule.pattern, known), where="formats")


def _split(op: Op, rules: tuple[Rule, ...]) -> list[Op]:
    """Split a repeated op into groups of layers to which the same rules apply."""
    if not op.layers or not any(rule.pattern for rule in rules):
        return [op]
    groups: dict[tuple[bool, ...], list[int]] = {}
    for layer in op.layers:
        key = tuple(_matches(rule, member(op.path, layer)) for rule in rules)
        groups.setdefault(key, []).append(layer)
    if len(groups) == 1:
        return [op]
    return [dataclasses.replace(op, layers=tuple(layers)) for layers in groups.values()]


def _resolve(
    op: Op, role: str, first: tuple[Rule, ...], last: tuple[Rule, ...], head_dim: int
) -> tuple[str, float, int]:
    """Name, bits a value and group size of one role of one op; ('', 0, 0) if it has no meaning."""
    if not _applies(op, role):
        return "", 0.0, 0
    spec = _ruled(op, role, first)
    if spec is None and getattr(op, f"{role}_bits"):
        group = op.group_size if role == "weight" else 0
        return getattr(op, f"{role}_format"), getattr(op, f"{role}_bits"), group
    if spec is None:
        spec = _ruled(op, role, last)
    if spec is None:
        spec = "fp16"
    vector = head_dim if role == "kv" else op.cin or op.width or op.heads * op.head_dim
    return _storage(role, spec, vector, op.cout * max(op.experts, 1))


def _applies(op: Op, role: str) -> bool:
    if role == "weight":
        return op.parameters > 0 or op.has_weight
    return role == "activation" or op.kind == "attention" or op.kv_cout > 0


def _ruled(op: Op, role: str, rules: tuple[Rule, ...]) -> str | float | None:
    """What the last fitting rule says; only a rule with a pattern speaks of more than linears."""
    name = member(op.path, op.layers[0]) if op.layers else op.path  # _split: as every other layer
    for rule in reversed(rules):
        general = rule.pattern in ("", "*")
        if role in rule.roles and _matches(rule, name):
            if role == "weight" and general and not op.has_weight:
                continue
            return rule.roles[role]
    return None


def kv_storage_bits(name: str, head_dim: int) -> float:
    """Bits a key or value takes in a format, with its share of the scale of a token and head.

    >>> kv_storage_bits("int8", 128)
    8.125
    """
    return _storage("kv", name, head_dim)[1]


def _storage(role: str, spec: str | float, vector: int, outputs: int = 0) -> tuple[str, float, int]:
    """Name, bits and group size of a spec.

    Args:
        vector: values of a channel or token.
        outputs: channels of the matrix, whose codebooks are counted; 0 leaves them out.
    """
    from plait.models import formats

    if not isinstance(spec, str):
        return "", spec, 0
    fmt = formats.get(spec)
    granularity = fmt.default_group_size if role == "weight" else "channel"
    whole = outputs if role == "weight" and not fmt.has_table else 0
    bits = float(fmt.bits_per_weight(granularity, vector, SCALE_BITS, whole or None))
    if role != "weight" or not fmt.is_scaled:
        return spec, bits, 0
    return spec, bits, granularity if isinstance(granularity, int) else vector
