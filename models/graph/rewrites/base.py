"""What every rewrite is: checked parameters, a changed graph, and whether outputs differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.models.graph.ops import Op

__all__ = ["Rewrite", "Step", "change_ops", "feed_forward"]


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a graph; a rewrite may make several of one.

    Attributes:
        graph: what runs.
        phase: "prefill" or "decode".
        context: tokens attended to, the new ones included.
        label: goes before the names of the ops where a step has become several.
    """

    graph: Graph
    phase: str
    context: int
    label: str = ""


@dataclass(frozen=True)
class Rewrite:
    """A change of a model; each class is one method with its parameters.

    Attributes:
        name: as in ``--rewrite NAME:key=value``.
        changes_outputs: whether the model computes something else afterwards, beyond rounding.
        effect: one sentence on what changes and at what price, for the report.
    """

    name: ClassVar[str]
    changes_outputs: ClassVar[bool]
    effect: ClassVar[str]

    def change(self, graph: Graph) -> Graph:
        """Give the changed graph."""
        return graph

    def steps(self, step: Step) -> tuple[Step, ...]:
        """Give what runs instead of one step."""
        return (dataclasses.replace(step, graph=self.change(step.graph).verify()),)

    def __str__(self) -> str:
        """Give the text that `parse` reads, every parameter stated."""
        fields = dataclasses.fields(self)
        given = ",".join(f"{field.name}={_text(getattr(self, field.name))}" for field in fields)
        return f"{self.name}:{given}" if given else self.name

    def to_dict(self) -> dict[str, Any]:
        """Give what the report says of this rewrite."""
        return {
            "rewrite": str(self),
            "changes_outputs": self.changes_outputs,
            "effect": self.effect,
        }

    def require(self, key: str, is_right: bool, expected: str) -> None:
        """Refuse a parameter that is out of range."""
        if not is_right:
            raise SpecError(
                "out of range",
                where=f"rewrite {self.name}: {key}",
                got=getattr(self, key),
                expected=expected,
            )


def change_ops(graph: Graph, change: Callable[[Op], Op]) -> Graph:
    """Give a graph whose ops went through ``change``."""
    return dataclasses.replace(graph, ops=tuple(change(op) for op in graph.ops))


def feed_forward(graph: Graph) -> tuple[Op, ...]:
    """The ops between the residual stream and back, in every layer, after attention.

    The first linear after attention is its output projection; what follows are the matrices of the
    feed-forward part, and the activations and products that are fed by them.
    """
    found: dict[str, Op] = {}
    after_attention = projected = False
    for op in graph.ops:
        if not op.layers:
            continue
        if op.kind == "attention":
            after_attention = True
        elif after_attention and op.kind == "linear":
            if projected:
                found[op.path] = op
            projected = True
        elif op.function == "mul" or op.kind == "activation":
            if any(name in found for name in op.inputs):
                found[op.path] = op
        elif op.kind in ("experts", "topk"):
            raise SpecError("the model is a mixture of experts already", where=graph.name)
    if not any(op.kind == "activation" for op in found.values()):
        raise SpecError("has no feed-forward part to rewrite", where=graph.name)
    return tuple(found.values())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
