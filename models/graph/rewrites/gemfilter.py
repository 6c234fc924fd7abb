"""GemFilter (arXiv 2409.17422): early layers choose the tokens of the prompt that all layers see.

Pass 1 runs layers 0 to r over the whole prompt; the k tokens that its last query scores highest
make a new, short prompt for pass 2. Decode then sees k tokens for the prompt.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from plait.errors import SpecError
from plait.models.graph.graph import Graph
from plait.models.graph.rewrites.base import Rewrite, Step

__all__ = ["GemFilter", "GemFilterCost", "gemfilter_cost"]


@dataclass(frozen=True)
class GemFilter(Rewrite):
    """Keep ``keep`` tokens of a prompt, chosen by the scores of layer ``layer``.

    The choice itself (2 d n operations) is not charged, as in the paper.

    Args:
        layer: the layer whose scores choose; layers up to it make pass 1.
        keep: tokens that stay.
        generated: tokens of the context that are no part of the prompt, in decode.
    """

    layer: int = 13
    keep: int = 1024
    generated: int = 1

    name: ClassVar = "gemfilter"
    changes_outputs: ClassVar = True
    effect: ClassVar = "tokens that the early layer does not choose are forgotten"

    def __post_init__(self) -> None:
        self.require("layer", self.layer >= 0, "0 or more")
        self.require("keep", self.keep >= 1, "1 or more")
        self.require("generated", self.generated >= 1, "1 or more: the new token")

    def steps(self, step: Step) -> tuple[Step, ...]:
        """Two passes in prefill; in decode a shorter context."""
        layers = step.graph.layers
        if self.layer not in layers:
            raise SpecError(
                "no such layer",
                where=f"rewrite {self.name}: layer",
                got=self.layer,
                expected=f"0 to {len(layers) - 1}",
            )
        if step.phase == "decode":
            prompt = max(step.context - self.generated, 0)
            context = min(self.keep, prompt) + min(self.generated, step.context)
            return (dataclasses.replace(step, context=context),)
        first = dataclasses.replace(step, graph=_prefix(step.graph, self.layer), label="pass 1: ")
        second = dataclasses.replace(step, context=min(self.keep, step.context), label="pass 2: ")
        return first, second


@dataclass(frozen=True, slots=True)
class GemFilterCost:
    """Operations of a prompt in both ways, and the cache after it."""

    two_pass_operations: float
    full_operations: float
    kv_bytes: int
    full_kv_bytes: int

    @property
    def ratio(self) -> float:
        """Operations saved: full over two passes."""
        return self.full_operations / self.two_pass_operations


def gemfilter_cost(
    *,
    layers: int,
    prefix_layers: int,
    width: int,
    kv_width: int,
    layer_parameters: int,
    prompt: int,
    keep: int,
    element_bytes: int = 2,
) -> GemFilterCost:
    """Count a prompt by the paper's formula: 2 P n + 2 d n (n + 1) operations a layer.

    Args:
        layers, prefix_layers: of the model, and of pass 1 (its layer's number plus one).
        width, kv_width: channels of q, and of k.
        layer_parameters: P, weights of a layer.
        prompt, keep: tokens.
        element_bytes: of a key or value.
    """

    def operations(tokens: int) -> float:
        return 2.0 * layer_parameters * tokens + 2.0 * width * tokens * (tokens + 1)

    kept = min(keep, prompt)
    cached = layers * 2 * kv_width * element_bytes
    return GemFilterCost(
        two_pass_operations=prefix_layers * operations(prompt) + layers * operations(kept),
        full_operations=layers * operations(prompt),
        kv_bytes=cached * kept,
        full_kv_bytes=cached * prompt,
    )


def _prefix(graph: Graph, layer: int) -> Graph:
    """What runs before the layers, and the layers up to ``layer``."""
    end = max(index for index, op in enumerate(graph.ops) if op.layers)
    kept = []
    for op in graph.ops[: end + 1]:
        layers = tuple(number for number in op.layers if number <= layer)
        if layers or not op.layers:
            kept.append(dataclasses.replace(op, layers=layers))
    return dataclasses.replace(graph, ops=tuple(kept)).verify()
