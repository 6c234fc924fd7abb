"""The op kinds of a decoder LLM and the fields an op carries.

An op is one kind of work: it knows what it costs in numbers (rows, widths, heads), where it sits
(path, layers) and who feeds it (inputs). Sizes that depend on the run (batch, query, context) stay
symbolic until `plait.models.graph.workload.bind`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from plait.errors import GraphError

__all__ = ["KINDS", "PREVIOUS", "ROWS", "Op"]

KINDS: dict[str, str] = {
    "linear": "matrix product with a weight [cout, cin]",
    "experts": "one linear an expert of a mixture; each row visits experts_active of them",
    "attention": "softmax(q k^T) v with the KV cache; scores, mask and softmax are inside",
    "norm": "rms_norm or layer_norm over a row",
    "activation": "silu, gelu, relu, ... of every element",
    "elementwise": "add, mul, ... of whole tensors",
    "rope": "rotary position encoding of queries or keys",
    "embedding": "one row of a table a token",
    "topk": "softmax over the router's scores and the choice of experts",
}

ROWS: dict[str, str] = {
    "tokens": "batch * query",
    "sequences": "batch: the last token of every sequence",
    "positions": "query: shared by all sequences",
    "routed": "batch * query * experts_active",
    "once": "1",
}

PREVIOUS = "^"
"""Prefix of an input that comes from the layer before."""


@dataclass(frozen=True, slots=True)
class Op:
    """One op, or the same op of several layers.

    Attributes:
        path: place in the model with the layer's number as ``*`` ("layers.*.self_attn.q_proj").
        kind: one of `KINDS`.
        function: which norm, activation or elementwise function ("rms_norm", "silu", "add").
        inputs: paths of the ops that feed this one; `PREVIOUS` before a path means "of the layer
            before".
        first_inputs: the same for the first of ``layers``, where it differs.
        layers: numbers of the layers that hold this op; empty if it is in no layer.
        rows: one of `ROWS`, the rows of the activation.
        rows_per_token: products a row, for a linear that is applied to every head.
        cin, cout: inputs and outputs of a weight matrix.
        width: elements a row of the output (norm, activation, elementwise, rope, embedding).
        operands: activation tensors read.
        heads, kv_heads, head_dim: of attention and rope (there ``heads`` are the rotated ones).
        window: keys a query sees at most; 0 = all.
        sinks: first keys that every query sees beside its window.
        kept: keys a block of queries sees beside sinks and window, chosen by a search (HiP).
        query_block, key_block: tokens of a block of that search.
        unified_max: the softmax subtracts one constant for all scores (FlashDecoding++).
        recompute: share of the rows that are computed a second time because it did not fit.
        causal: a query sees only keys up to its own place.
        experts, experts_active: of a mixture; what a token visits may be an expected number, 0
            for weights that are stored and never visited.
        capacity: rows an expert has room for, over its even share; 0 = as many as come.
        rows_multiple: rows of the product are padded up to a multiple of this.
        kv_cout: output channels that are keys or values (all of k_proj, two thirds of GPT-2's
            c_attn).
        is_output: this linear gives the logits.
        has_bias: a vector is added to the output.
        parameters: numbers stored for this op in one layer; a tied weight counts where it is
            first used.
        weight_format, weight_bits, group_size: kept from a quantised module; bits are the true
            storage a weight, 0 if not stated.
        activation_format, activation_bits, kv_format, kv_bits: likewise.
    """

    path: str
    kind: str
    function: str = ""
    inputs: tuple[str, ...] = ()
    first_inputs: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    rows: str = "tokens"
    rows_per_token: int = 1
    cin: int = 0
    cout: int = 0
    width: int = 0
    operands: int = 1
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    window: int = 0
    sinks: int = 0
    kept: int = 0
    query_block: int = 1
    key_block: int = 1
    unified_max: bool = False
    recompute: float = 0.0
    causal: bool = False
    experts: int = 0
    experts_active: float = 0
    capacity: float = 0.0
    rows_multiple: int = 1
    kv_cout: int = 0
    is_output: bool = False
    has_bias: bool = False
    parameters: int = 0
    weight_format: str = ""
    weight_bits: float = 0.0
    group_size: int = 0
    activation_format: str = ""
    activation_bits: float = 0.0
    kv_format: str = ""
    kv_bits: float = 0.0

    @property
    def count(self) -> int:
        """How many layers hold this op; 1 outside the layers."""
        return len(self.layers) or 1

    @property
    def has_weight(self) -> bool:
        """Whether a weight matrix is read (linear, experts)."""
        return self.kind in ("linear", "experts")

    def members(self) -> tuple[str, ...]:
        """The op's names in the unfolded model, a layer each.

        >>> Op("layers.*.mlp.up_proj", "linear", layers=(0, 1)).members()
        ('layers.0.mlp.up_proj', 'layers.1.mlp.up_proj')
        """
        return tuple(member(self.path, layer) for layer in self.layers) or (self.path,)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Op:
        """Inverse of `to_dict`; a key or type that no op has is a `GraphError`."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or not {"path", "kind"} <= fields.keys() <= known.keys():
            raise GraphError("not an op of a graph", got=fields, expected="path, kind and fields")
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        for name, value in values.items():
            if not _fits(str(known[name].type), value):
                raise GraphError(
                    f"field {name} of an op has the wrong type",
                    where=str(values["path"]),
                    got=value,
                    expected=str(known[name].type),
                )
        return cls(**values)


def member(path: str, layer: int) -> str:
    """Return the unfolded name of ``path`` in one layer."""
    return path.replace("*", str(layer), 1)


def _fits(annotation: str, value: object) -> bool:
    """Whether a value read from JSON is of the annotated type (bool is no int here)."""
    if annotation.startswith("tuple"):
        kind = int if "int" in annotation else str
        return isinstance(value, tuple) and all(type(item) is kind for item in value)
    allowed = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}[annotation]
    return type(value) in allowed
