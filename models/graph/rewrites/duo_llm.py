"""Duo-LLM (arXiv 2410.10846): every layer has a big and a small feed-forward part, or is skipped.

A route says what each layer does: b(ig), s(mall) or x (skip). Both parts are stored whatever the
route. A route for all tokens costs whole layers; shares for each token by itself cost what a batch
touches of both parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op
from plait.models.graph.rewrites.base import Rewrite, feed_forward

__all__ = ["DuoLLM", "DuoSize", "duo_size", "fraction_read"]

_CHOICES = "bsx"


@dataclass(frozen=True)
class DuoLLM(Rewrite):
    """Choose big, small or no feed-forward part.

    Args:
        route: a letter a layer; empty = by the shares.
        small: inner width of the small part.
        big_share, small_share: share of the tokens that visit each part, without a route; the
            rest skips.
        skip: what x leaves out: "ffn", or "layer" for attention too (and its keys and values).
    """

    route: str = ""
    small: int = 256
    big_share: float = 0.5
    small_share: float = 0.25
    skip: str = "ffn"

    name: ClassVar = "duo-llm"
    changes_outputs: ClassVar = True
    effect: ClassVar = "layers use a small feed-forward part or none; both must be trained"

    def __post_init__(self) -> None:
        self.require("small", self.small >= 1, "1 or more")
        self.require("skip", self.skip in ("ffn", "layer"), "ffn or layer")
        self.require("route", set(self.route) <= set(_CHOICES), "letters b, s and x")
        for key in ("big_share", "small_share"):
            self.require(key, 0 <= getattr(self, key) <= 1, "0 to 1")
        self.require("small_share", self.big_share + self.small_share <= 1, "1 - big_share or less")
        is_by_token = not self.route
        self.require("skip", not (is_by_token and self.skip == "layer"), "ffn where tokens choose")

    def change(self, graph: Graph) -> Graph:
        """Split the feed-forward part of every layer by what is visited."""
        layers = graph.layers
        if self.route and len(self.route) != len(layers):
            raise SpecError(
                "not a letter a layer",
                where=f"rewrite {self.name}: route",
                got=f"{len(self.route)} letters",
                expected=str(len(layers)),
            )
        inner = {op.path: op for op in feed_forward(graph)}
        ops: list[Op] = []
        for op in graph.ops:
            if op.path in inner:
                ops += self._parts(op, inner, big=True)
            elif op.layers and self.skip == "layer":
                ops += self._skipped(op)
            else:
                ops.append(op)
            if op.path == list(inner)[-1]:  # the small part runs beside the whole big one
                ops += [part for big in inner.values() for part in self._parts(big, inner, False)]
        return dataclasses.replace(graph, ops=tuple(ops))

    def _parts(self, op: Op, inner: dict[str, Op], big: bool) -> list[Op]:
        """One op of a part for every share of the tokens that visits it."""
        made = op if big else _small(op, inner, self.small)
        if not self.route:
            return [_visited(made, self.big_share if big else self.small_share)]
        letter = "b" if big else "s"
        return _by_layer(made, lambda layer: float(self.route[layer] == letter))

    def _skipped(self, op: Op) -> list[Op]:
        """An op outside the feed-forward part; without weights it is gone where x is chosen."""
        parts = _by_layer(op, lambda layer: float(self.route[layer] != "x"))
        has_no_weight = op.kind in ("attention", "rope")
        return [part for part in parts if not (has_no_weight and part.rows == "routed")]


def _by_layer(op: Op, share: Callable[[int], float]) -> list[Op]:
    """Split an op by the share of tokens that visit it in each layer."""
    groups: dict[float, list[int]] = {}
    for layer in op.layers:
        groups.setdefault(share(layer), []).append(layer)
    return [
        _visited(dataclasses.replace(op, layers=tuple(layers)), part)
        for part, layers in groups.items()
    ]


def _visited(op: Op, share: float) -> Op:
    """An op that a share of the tokens visits: an expert of its own."""
    if share == 1:
        return op
    kind = "experts" if op.kind == "linear" else op.kind
    return dataclasses.replace(op, kind=kind, rows="routed", experts=1, experts_active=share)


def _small(op: Op, inner: dict[str, Op], width: int) -> Op:
    """The same op of the small part; the inner width is that of the activation."""
    big = next(other.width for other in inner.values() if other.kind == "activation")
    path = _small_path(op.path)
    inputs = tuple(_small_path(name) if name in inner else name for name in op.inputs)
    first = tuple(_small_path(name) if name in inner else name for name in op.first_inputs)
    cin, cout = (width if size == big else size for size in (op.cin, op.cout))
    parameters = cin * cout + op.has_bias * cout if op.has_weight else op.parameters
    return dataclasses.replace(
        op,
        path=path,
        inputs=inputs,
        first_inputs=first,
        cin=cin,
        cout=cout,
        width=width if op.width == big else op.width,
        parameters=parameters,
    )


def _small_path(path: str) -> str:
    head, _, tail = path.rpartition(".")
    return f"{head}.small.{tail}"


@dataclass(frozen=True, slots=True)
class DuoSize:
    """Attributes:
    macs_per_token: multiply-adds with weights, scores of attention left out.
    stored_parameters: weights of all layers, both parts.
    all_big_macs: macs_per_token of a route of b alone.
    """

    macs_per_token: int
    stored_parameters: int
    all_big_macs: int


def duo_size(
    route: str, hidden: int, big: int, small: int, *, gated: bool = False, skip: str = "ffn"
) -> DuoSize:
    """Count a route of layers with square projections: 4 d^2 and 2 or 3 matrices d x f.

    >>> duo_size("bbss", 1024, 4096, 256).macs_per_token
    34603008
    """
    matrices = 3 if gated else 2
    attention = 4 * hidden * hidden
    width = {"b": big, "s": small, "x": 0}
    layers = [attention + matrices * hidden * width[choice] for choice in route]
    if skip == "layer":
        layers = [macs for macs, choice in zip(layers, route, strict=True) if choice != "x"]
    stored = len(route) * (attention + matrices * hidden * (big + small))
    all_big = len(route) * (attention + matrices * hidden * big)
    return DuoSize(sum(layers), stored, all_big)


def fraction_read(
    batch: int, big: int, small: int, *, big_share: float, small_share: float
) -> float:
    """Expected share of both parts' weights that a batch of tokens reads, each choosing for itself.

    >>> fraction_read(1, 4096, 256, big_share=1.0, small_share=0.0) == 4096 / 4352
    True
    """
    touched = [1 - (1 - share) ** batch for share in (big_share, small_share)]
    return (touched[0] * big + touched[1] * small) / (big + small)
