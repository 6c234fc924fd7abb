"""A torch.export program without torch: nodes, where each sits, which values are activations.

Read from an `ExportedProgram` (plait.models.graph.export) or from the JSON of a .pt2 file
(plait.models.graph.archive). Passes (plait.models.graph.passes) rewrite it, and
plait.models.graph.lower turns it into a Graph.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from plait.errors import GraphError
from plait.models.graph.vocabulary import CREATION, MOVEMENT

__all__ = [
    "BATCH",
    "QUERY",
    "UNKNOWN",
    "Call",
    "Node",
    "Program",
    "Ref",
    "Size",
    "assemble",
    "base_target",
    "is_in_place",
]

Size = int | str
"""A dimension: a number, or an expression of symbols as torch.export writes it ("2*s77")."""

BATCH, QUERY = 101, 211
"""What the symbols of batch and query stand for while a program is read: primes that no width of a
model is likely to be a multiple of."""
_OTHER_PRIMES = (307, 401, 503, 601, 701, 809, 907, 1009)
_BASE = re.compile(r"^(?:torch\.ops\.)?(\w+\.(?:__\w+__|\w+?))_?(?:\.\w+)?$")

UNKNOWN = object()
"""A scalar argument that depends on a symbol."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument that is the value of a node."""

    name: str


@dataclass(frozen=True, slots=True)
class Node:
    """One call of the program, or one of its inputs.

    Attributes:
        name: unique in the program.
        target: "aten.linear", without overload and in-place underscore; "input", "parameter" or
            "buffer" for what the program is given; "plait.*" for what a pass recognised.
        args: by the names of the op's schema; values are scalars, `Ref` or lists of these.
        shape: of the (first) result.
        dtype: "float", "complex", "int" or "bool" ("none" if it has no result).
        path: the module that made the call ("model.layers.0.mlp").
    """

    name: str
    target: str
    args: Mapping[str, Any]
    shape: tuple[int, ...] = ()
    dtype: str = "float"
    path: str = ""

    @property
    def numel(self) -> int:
        """Elements of the result."""
        return math.prod(self.shape)

    @property
    def refs(self) -> tuple[str, ...]:
        """Names of all nodes among the arguments, in order."""
        return tuple(_refs(tuple(self.args.values())))

    def ref(self, name: str) -> str:
        """Name of the node that is the argument ``name``."""
        value = self.args[name]
        if not isinstance(value, Ref):
            raise GraphError(f"argument {name} of {self.target} is no tensor", where=self.place)
        return value.name

    @property
    def place(self) -> str:
        """Where the node is, for an error."""
        return f"{self.path or 'the top module'} ({self.name})"


class Program:
    """Nodes in order of execution.

    Args:
        name: the model's name.
        nodes: inputs, parameters and calls, each after what it uses.
        outputs: names of the nodes that the program returns.
    """

    def __init__(self, name: str, nodes: Iterator[Node] | list[Node], outputs: list[str]) -> None:
        self.name = name
        self.nodes = {node.name: node for node in nodes}
        self.outputs = outputs

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """Node -> the nodes that use it."""
        users: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for name in dict.fromkeys(node.refs):
                users[name].append(node.name)
        return users

    @cached_property
    def entry(self) -> Node:
        """The input that carries the tokens: integers for an embedding, else hidden states."""
        inputs = [node for node in self.nodes.values() if node.target == "input"]
        lookups = [node for node in self.nodes.values() if node.target == "aten.embedding"]
        looked_up = {name for node in lookups for name in self._upstream(node.ref("indices"))}
        tokens = [node for node in inputs if node.name in looked_up and node.shape]
        tokens.sort(key=lambda node: -node.numel)  # positions may be an input of one row
        hidden = [node for node in inputs if node.dtype == "float" and len(node.shape) > 1]
        if not tokens and not hidden:
            raise GraphError(
                "the program has no tokens and no hidden states as input", where=self.name
            )
        return (tokens or hidden)[0]

    @property
    def batch(self) -> int:
        """Sequences in the traced example."""
        sizes = self._leading
        return sizes[0] if len(sizes) > 1 else 1

    @property
    def query(self) -> int:
        """Tokens a sequence in the traced example."""
        return self._leading[-1]

    @property
    def _leading(self) -> tuple[int, ...]:
        entry = self.entry
        return entry.shape[:2] if entry.dtype == "int" else entry.shape[:-1][:2]

    @cached_property
    def data(self) -> frozenset[str]:
        """Names of the activations: float values that depend on the tokens' embeddings.

        Everything else (positions, masks, rotary tables, the router's choice of experts, weights)
        is known before or beside the arithmetic and costs a machine nothing that is counted.
        """
        data: set[str] = set()
        entry = self.entry
        for node in self.nodes.values():
            starts = node.target == "aten.embedding" or (node is entry and node.dtype == "float")
            follows = (
                node.dtype in ("float", "complex")
                and node.target not in CREATION
                and any(name in data for name in node.refs)
            )
            if starts or follows:
                data.add(node.name)
        return frozenset(data)

    def data_refs(self, node: Node) -> list[str]:
        """Activations among a node's arguments, repeated as often as they are used."""
        return [name for name in node.refs if name in self.data]

    def origin(self, name: str) -> str:
        """Follow views, casts and copies back to the node that computed the value."""
        return self.trail(name)[-1]

    def trail(self, name: str) -> list[str]:
        """The nodes from ``name`` back to its `origin`, both included.

        Stops where two values are joined (cat, stack).
        """
        trail = [name]
        while (node := self.nodes[trail[-1]]).target in MOVEMENT:
            moved = node.refs[:1]
            if not moved or node.target in ("aten.cat", "aten.stack"):
                break
            trail.append(moved[0])
        return trail

    def same(self, name: str) -> str:
        """Follow views and casts back as long as they hold all the elements of the value."""
        while (node := self.nodes[name]).target in MOVEMENT and node.target != "getitem":
            before = node.refs[:1]
            if len(node.refs) != 1 or self.nodes[before[0]].numel != node.numel:
                break
            name = before[0]
        return name

    def behind(self, name: str) -> list[str]:
        """All nodes that are no activations from which ``name`` is computed, itself included."""
        return self._upstream(name, self.data)

    def _upstream(self, name: str, without: frozenset[str] = frozenset()) -> list[str]:
        seen: dict[str, None] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in seen and current not in without:
                seen[current] = None
                waiting.extend(self.nodes[current].refs)
        return list(seen)

    def parameters_behind(self, name: str) -> list[str]:
        """Names of the parameters from which a weight is made (usually itself)."""
        return [found for found in self.behind(name) if self[found].target == "parameter"]

    def verify(self) -> Program:
        """Check that every argument is computed before it is used; return the program."""
        seen: set[str] = set()
        for node in self.nodes.values():
            for name in node.refs:
                if name not in seen:
                    raise GraphError(f"{name} is used before it is computed", where=node.place)
            seen.add(node.name)
        for name in self.outputs:
            if name not in seen:
                raise GraphError(f"output {name} is never computed", where=self.name)
        return self

    def replaced(self, removed: set[str], fused: dict[str, Node]) -> Program:
        """Return a program without ``removed`` nodes, save those that ``fused`` has anew."""
        nodes = [
            fused.get(name, node)
            for name, node in self.nodes.items()
            if name in fused or name not in removed
        ]
        kept = {node.name for node in nodes}  # attention weights may have been an output
        return Program(self.name, nodes, [name for name in self.outputs if name in kept])


def base_target(target: str) -> str:
    """Strip overload and in-place underscore.

    >>> base_target("torch.ops.aten.div_.Tensor"), base_target("aten.to.dtype_layout")
    ('aten.div', 'aten.to')
    """
    match = _BASE.match(target)
    return match.group(1) if match else target


def is_in_place(target: str) -> bool:
    """Whether an op writes its first argument.

    >>> is_in_place("aten.div_.Tensor"), is_in_place("aten.__and__.Tensor")
    (True, False)
    """
    name = target.removeprefix("torch.ops.").split(".")[1:2]
    return bool(name) and name[0].endswith("_") and not name[0].endswith("__")


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _refs(item)


@dataclass(frozen=True, slots=True)
class Call:
    """A `Node` whose sizes may still be expressions of symbols."""

    name: str
    target: str
    args: Mapping[str, Any]
    shape: tuple[Size, ...]
    dtype: str
    path: str


def assemble(
    name: str, calls: Iterable[Call], given: Mapping[str, tuple[str, str]], outputs: list[str]
) -> Program:
    """Make a program of what a reader found.

    Args:
        name: the model's name.
        calls: in order; what the program is given has target "input".
        given: name of an input -> ("parameter", "buffer" or "input", its name in the module).
        outputs: names of the returned values; those that are no tensors are left out.
    """
    calls = list(calls)
    symbols = _symbols(calls, given)
    nodes = []
    for call in calls:
        target, args = call.target, call.args
        if target == "input":
            target, stored_at = given.get(call.name, ("input", call.name))
            args = {"name": stored_at}
        shape = tuple(s if isinstance(s, int) else _evaluate(s, symbols) for s in call.shape)
        nodes.append(Node(call.name, target, args, shape, call.dtype, call.path))
    known = {node.name for node in nodes}
    return Program(name, nodes, [output for output in outputs if output in known]).verify()


def _symbols(calls: list[Call], given: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Numbers for the symbols of batch and query: those of the first input that looks like tokens
    (two dimensions of integers), else like hidden states."""
    inputs = [
        c for c in calls if c.target == "input" and given.get(c.name, ("input",))[0] == "input"
    ]
    tokens = [call for call in inputs if call.dtype == "int" and len(call.shape) == 2]
    hidden = [call for call in inputs if call.dtype == "float" and len(call.shape) > 1]
    entry = next(iter(tokens or hidden), None)
    symbols: dict[str, int] = {}
    for size, prime in zip(entry.shape if entry else (), (BATCH, QUERY), strict=False):
        if isinstance(size, str) and size.isidentifier():
            symbols.setdefault(size, prime)
    return symbols


_OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "FloorDiv": lambda a, b: a // b,
    "CleanDiv": lambda a, b: a // b,
    "Mod": lambda a, b: a % b,
    "PythonMod": lambda a, b: a % b,
    "Integer": lambda a: a,
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: math.prod(factors),
    "Max": max,
    "Min": min,
}


def _evaluate(expression: str, symbols: dict[str, int]) -> int:
    """Value of a size; a new symbol gets the next prime. No eval: only integer arithmetic."""
    try:
        return _value(ast.parse(expression, mode="eval").body, symbols)
    except (
        SyntaxError,
        LookupError,
        TypeError,
        ArithmeticError,
        RecursionError,
        ValueError,
        MemoryError,
    ):
        raise GraphError("a size that cannot be read", got=expression) from None


def _value(tree: ast.expr, symbols: dict[str, int]) -> int:
    match tree:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            fresh = [p for p in _OTHER_PRIMES if p not in symbols.values()]
            return symbols.setdefault(name, fresh[0] if fresh else 1013)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, symbols)
        case ast.BinOp(left=left, op=operator, right=right):
            return _OPERATORS[type(operator)](_value(left, symbols), _value(right, symbols))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name](*(_value(argument, symbols) for argument in arguments))
    raise KeyError(ast.dump(tree))
