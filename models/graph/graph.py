"""A Graph: the ops of a decoder LLM in order, repeated layers kept once.

Made only from a torch.export program (plait.models.graph.export); this file needs no torch.
"""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plait.errors import GraphError, unknown_name
from plait.models.graph.ops import KINDS, PREVIOUS, ROWS, Op, member
from plait.models.graph.workload import Workload, bind

if TYPE_CHECKING:
    from plait.models.llm.config import LLMShape

__all__ = ["Graph"]

_JSON_KIND = "plait graph 1"
_NEEDS = {
    "linear": ("cin", "cout"),
    "experts": ("cin", "cout", "experts"),
    "attention": ("heads", "kv_heads", "head_dim"),
    "rope": ("heads", "head_dim", "width"),
    "topk": ("experts", "experts_active", "width"),
    "norm": ("function", "width"),
    "activation": ("function", "width"),
    "elementwise": ("function", "width"),
    "embedding": ("width",),
}


@dataclass(frozen=True)
class Graph:
    """The ops of a model, in the order of execution within a layer.

    Attributes:
        name: the model's name.
        ops: each op once, with the layers that hold it.
        max_positions: longest context the model was made for, in tokens; 0 = not known.

    >>> graph = Graph("toy", (Op("lm_head", "linear", cin=8, cout=32, is_output=True),))
    >>> Graph.from_json(graph.to_json()) == graph
    True
    """

    name: str
    ops: tuple[Op, ...]
    max_positions: int = 0

    def bind(
        self,
        phase: str = "decode",
        batch: int = 1,
        context: int = 1024,
        formats: object = None,
        defaults: object = None,
    ) -> Workload:
        """Bind to sizes and formats; see `plait.models.graph.workload.bind`."""
        return bind(self, phase, batch, context, formats, defaults)

    @cached_property
    def shape(self) -> LLMShape | None:
        """The `LLMShape` of a regular decoder (all layers alike), else None."""
        from plait.models.graph.recover import recover_shape

        return recover_shape(self)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers, ascending."""
        return tuple(sorted({layer for op in self.ops for layer in op.layers}))

    @property
    def parameters(self) -> int:
        """Stored numbers of the whole model; tied weights count once."""
        return sum(op.parameters * op.count for op in self.ops)

    def op(self, name: str) -> Op:
        """Return the op shown as ``name``; an unknown name lists the nearest."""
        for op in self.ops:
            if self.display_name(op) == name:
                return op
        known = [self.display_name(op) for op in self.ops]
        raise GraphError(unknown_name("op", name, known), where=self.name)

    def display_name(self, op: Op) -> str:
        """Name of an op in tables: ``*`` only if all layers hold it, else their numbers.

        >>> same = Op("layers.*.fc", "linear", layers=(0, 1, 3), cin=2, cout=2)
        >>> other = Op("layers.*.fc", "linear", layers=(2,), cin=2, cout=4)
        >>> graph = Graph("toy", (same, other))
        >>> [graph.display_name(op) for op in graph.ops]
        ['layers.0-1,3.fc', 'layers.2.fc']
        """
        if not op.layers or op.layers == self.layers:
            return op.path
        return op.path.replace("*", _ranges(op.layers), 1)

    def unfold(self) -> Iterator[Op]:
        """Yield every layer's ops in order of execution, paths and inputs with real numbers."""
        split = next((i for i, op in enumerate(self.ops) if op.layers), len(self.ops))
        yield from (op for op in self.ops[:split])
        for layer in self.layers:
            for op in self.ops:
                if layer in op.layers:
                    yield _unfolded(op, layer)
        last = self.layers[-1] if self.layers else 0
        for op in self.ops[split:]:
            if not op.layers:
                inputs = tuple(member(name, last) for name in op.inputs)
                yield dataclasses.replace(op, inputs=inputs)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(producer, consumer) paths; `PREVIOUS` marks a producer in the layer before."""
        return tuple((name, op.path) for op in self.ops for name in op.inputs)

    def verify(self) -> Graph:
        """Check names, kinds, needed fields and edges; return the graph itself."""
        names = [self.display_name(op) for op in self.ops]
        known = {name for op in self.ops for name in (op.path, *op.members())}
        for op, name in zip(self.ops, names, strict=True):
            for problem in _problems(op, known):
                raise GraphError(problem, where=f"{self.name}: {name}")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise GraphError("two ops of one name", where=f"{self.name}: {twice}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, the inverse of `from_dict`."""
        return {
            "kind": _JSON_KIND,
            "name": self.name,
            "max_positions": self.max_positions,
            "ops": [op.to_dict() for op in self.ops],
        }

    def to_json(self) -> str:
        """Return the graph as one JSON document."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Graph:
        """Read what `to_dict` gave, verified."""
        if not isinstance(document, dict) or document.get("kind") != _JSON_KIND:
            raise GraphError("not a graph", got=document, expected=f'JSON of kind "{_JSON_KIND}"')
        name, ops = document.get("name"), document.get("ops")
        positions = document.get("max_positions", 0)
        if not isinstance(name, str) or not isinstance(ops, list) or type(positions) is not int:
            raise GraphError("not a graph", got=document, expected="a name and a list of ops")
        return cls(name, tuple(Op.from_dict(fields) for fields in ops), positions).verify()

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Read what `to_json` gave, verified."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise GraphError(f"not a graph: {error}", expected="JSON") from None
        return cls.from_dict(document)

    def __str__(self) -> str:
        """Return a table, a line an op."""
        head = (
            f"{self.name}: {len(self.layers)} layers, {len(self.ops)} different ops, "
            f"{self.parameters:,} parameters"
        )
        rows = [(self.display_name(op), *_cells(op)) for op in self.ops]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in ((self.display_name(op), *_cells(op)) for op in self.ops)
        )
        head = "".join(f"<th>{cell}</th>" for cell in ("op", "layers", "kind", "size"))
        caption = html.escape(f"{self.name}: {self.parameters:,} parameters")
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{rows}</table>"


def _unfolded(op: Op, layer: int) -> Op:
    """The op of one layer, its inputs named in the unfolded model."""
    names = op.first_inputs if op.first_inputs and layer == op.layers[0] else op.inputs
    inputs = tuple(
        member(name.removeprefix(PREVIOUS), layer - name.startswith(PREVIOUS)) for name in names
    )
    return dataclasses.replace(
        op, path=member(op.path, layer), layers=(), inputs=inputs, first_inputs=()
    )


def _problems(op: Op, known: set[str]) -> Iterator[str]:
    if op.kind not in KINDS:
        yield unknown_name("kind of op", op.kind, KINDS)
        return
    if op.rows not in ROWS:
        yield unknown_name("kind of rows", op.rows, ROWS)
    for field in _NEEDS[op.kind]:
        if not getattr(op, field):
            yield f"a {op.kind} op needs {field}"
    if op.kv_heads and op.heads % op.kv_heads:
        yield f"{op.heads} heads cannot share {op.kv_heads} KV heads"
    if bool(op.layers) != ("*" in op.path):
        yield "an op of layers has one * in its path, another none"
    if sorted(set(op.layers)) != list(op.layers):
        yield "layers must ascend"
    for name in (*op.inputs, *op.first_inputs):
        if name.removeprefix(PREVIOUS) not in known:
            yield f"input {name} is no op of the graph"


def _cells(op: Op) -> tuple[str, str, str]:
    """Count, kind and size of an op, as text."""
    kind = f"{op.kind} {op.function}".strip()
    if op.has_weight:
        size = f"{op.cin} -> {op.cout}"
        size += f", {op.experts_active:g} of {op.experts} experts" if op.experts else ""
        size += f", {op.weight_format} {op.weight_bits:g} bit" if op.weight_format else ""
        size += ", writes KV" if op.kv_cout else ""
        size += ", logits" if op.is_output else ""
    elif op.kind == "attention":
        size = f"{op.heads} heads, {op.kv_heads} KV heads, size {op.head_dim}"
        size += ", causal" if op.causal else ""
        size += f", window {op.window}" if op.window else ""
        size += f", {op.sinks} sinks" if op.sinks else ""
        size += f", {op.kept} kept" if op.kept else ""
    else:
        size = f"{op.width} a row of {op.rows}"
    return f"x {op.count}", kind, size


def _ranges(numbers: tuple[int, ...]) -> str:
    """Write ascending numbers as ranges: (0, 1, 3) -> "0-1,3"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
