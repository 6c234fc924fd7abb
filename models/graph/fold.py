"""Fold repeated layers: ops that differ only in the layer's number are kept once."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import re
from collections import Counter, defaultdict

from plait.models.graph.ops import PREVIOUS, Op

__all__ = ["fold"]

_LAYERED = re.compile(r"^((?:[^.]*[^.\d][^.]*\.)*)(\d+)\.(.+)$")


def fold(ops: list[Op]) -> tuple[Op, ...]:
    """Fold ops with real paths into ops with a ``*`` for the layer.

    The layers are the numbered modules under the prefix with most ops ("layers.0", "h.11"); other
    numbers stay as they are. Ops of two layers are one if all their fields agree, inputs included
    (those of the layer before count as the same; those of the first layer may differ).
    """
    prefix = _container([op.path for op in ops])
    placed = [_place(op, prefix) for op in ops]
    first = min((layer for layer, _ in placed if layer is not None), default=None)
    groups: dict[tuple, list[int]] = defaultdict(list)
    for index, (layer, op) in enumerate(placed):
        if layer != first or layer is None:
            groups[_key(op)].append(index)
    for index, (layer, op) in enumerate(placed):
        if layer is not None and layer == first:
            groups[_likeness(groups, op)].insert(0, index)
    order = _order(placed, list(groups.values()))
    return tuple(_merged(placed, members) for members in order)


def _container(paths: list[str]) -> str:
    """The prefix of the layers; "" never matches."""
    prefixes = Counter(match.group(1) for path in paths if (match := _LAYERED.match(path)))
    return prefixes.most_common(1)[0][0] if prefixes else "\n"


def _place(op: Op, prefix: str) -> tuple[int | None, Op]:
    """An op's layer, and the op with templates for paths."""
    layer, path = _split(op.path, prefix)
    inputs = []
    for name in op.inputs:
        source, template = _split(name, prefix)
        if source is None or (layer is not None and source == layer):
            inputs.append(template)
        elif layer is None:
            inputs.append(template)  # the last layer's, by the rule of Graph.unfold
        else:
            inputs.append(PREVIOUS + template if source == layer - 1 else name)
    return layer, dataclasses.replace(op, path=path, inputs=tuple(inputs))


def _split(name: str, prefix: str) -> tuple[int | None, str]:
    match = _LAYERED.match(name)
    if match is None or match.group(1) != prefix:
        return None, name
    return int(match.group(2)), f"{prefix}*.{match.group(3)}"


def _key(op: Op) -> tuple:
    return dataclasses.astuple(op)


def _likeness(groups: dict[tuple, list[int]], op: Op) -> tuple:
    """The group that an op of the first layer joins: alike but for the inputs."""
    blank = _key(dataclasses.replace(op, inputs=()))
    position = [field.name for field in dataclasses.fields(Op)].index("inputs")
    for key in groups:
        if (*key[:position], (), *key[position + 1 :]) == blank:
            return key
    return _key(op)


def _merged(placed: list[tuple[int | None, Op]], members: list[int]) -> Op:
    layers = [placed[index][0] for index in members]
    numbers = tuple(layer for layer in layers if layer is not None)
    first, last = placed[members[0]][1], placed[members[-1]][1]
    own = first.inputs if first.inputs != last.inputs else ()
    return dataclasses.replace(last, layers=numbers, first_inputs=own)


def _order(placed: list[tuple[int | None, Op]], groups: list[list[int]]) -> list[list[int]]:
    """Sort groups so that the ops of every layer stay in their order of execution."""
    group_of = {index: number for number, members in enumerate(groups) for index in members}
    after: dict[int, set[int]] = defaultdict(set)
    before: Counter[int] = Counter()
    for layer in dict.fromkeys(layer for layer, _ in placed):
        chain = [group_of[index] for index, (own, _) in enumerate(placed) if own == layer]
        for left, right in itertools.pairwise(chain):
            if right not in after[left]:
                after[left].add(right)
                before[right] += 1
    ready = [(members[0], number) for number, members in enumerate(groups) if not before[number]]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, number = heapq.heappop(ready)
        order.append(number)
        for following in after[number]:
            before[following] -= 1
            if not before[following]:
                heapq.heappush(ready, (groups[following][0], following))
    left_over = sorted(set(range(len(groups))) - set(order))  # layers of contrary order
    return [groups[number] for number in [*order, *left_over]]
