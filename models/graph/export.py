"""From a torch.nn.Module or an ExportedProgram to a Graph.

`torch.export` traces the module; `read_exported` copies the trace into a `Program` (no torch);
the passes and `plait.models.graph.lower` do the rest. The only file of this package that needs
torch.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from plait.errors import GraphError
from plait.models.graph.graph import Graph
from plait.models.graph.lower import graph_from_program
from plait.models.graph.program import (
    BATCH,
    QUERY,
    UNKNOWN,
    Call,
    Program,
    Ref,
    Size,
    assemble,
    base_target,
    is_in_place,
)

__all__ = ["export_module", "export_program", "graph_from_exported", "read_exported"]

_SPECS = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "buffer"}
_INLINED = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


def export_module(
    module: nn.Module, example_inputs: tuple[Any, ...] | None = None, name: str = ""
) -> Graph:
    """Turn a decoder LLM, or a part of one, into a Graph; keeps the formats of quantised linears.

    Args:
        module: called as ``module(*example_inputs)``; takes tokens (batch, query), or hidden
            states (batch, query, hidden), first.
        example_inputs: default: tokens (101, 211), sizes that no width is likely to be a multiple
            of. Nothing is computed on them.
        name: the graph's name; default: the module's own.

    >>> from plait.models.llm import build_decoder
    >>> export_module(build_decoder("smollm2-135m")).parameters
    134515008
    """
    program = export_program(module, example_inputs)
    graph = graph_from_exported(program, name or _module_name(module))
    return dataclasses.replace(graph, max_positions=_max_positions(module))


def export_program(
    module: nn.Module, example_inputs: tuple[Any, ...] | None = None
) -> ExportedProgram:
    """Trace a module; what torch.export cannot take is a `GraphError` of one line."""
    if not isinstance(module, nn.Module):
        raise GraphError("not a model", got=type(module).__name__, expected="a torch.nn.Module")
    arguments = _default_inputs(module) if example_inputs is None else tuple(example_inputs)
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            return torch.export.export(module, arguments, _switches(module), strict=False)
    except Exception as error:  # torch.export raises what the module raises, and its own
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise GraphError(
            f"torch.export cannot trace it: {first[0][:300]}",
            where=_module_name(module),
            hint="give example_inputs that the module takes",
        ) from error
    finally:
        module.train(training)


def graph_from_exported(program: ExportedProgram, name: str = "model") -> Graph:
    """Turn a traced program into a Graph."""
    return graph_from_program(read_exported(program, name))


def read_exported(program: ExportedProgram, name: str = "model") -> Program:
    """Copy a traced program into a `Program`."""
    given = {
        spec.arg.name: (_SPECS.get(spec.kind.name, "input"), spec.target or spec.arg.name)
        for spec in program.graph_signature.input_specs
    }
    outputs = [spec.arg.name for spec in program.graph_signature.output_specs]
    return assemble(name, _walk(program.graph_module, {}, ""), given, outputs)


def _walk(module: torch.fx.GraphModule, given: dict[str, Any], path: str) -> Iterator[Call]:
    """Yield (name, target, args, shape, dtype, path) of every tensor; blocks are inlined."""
    values: dict[str, Any] = dict(given)
    for node in module.graph.nodes:
        here = _path(node) or path
        if node.op == "placeholder":
            if node.name not in values:
                yield Call(node.name, "input", {}, *_tensor(node.meta.get("val")), here)
        elif node.op == "get_attr":
            attribute = getattr(module, node.target, None)
            if isinstance(attribute, torch.Tensor):
                yield Call(node.name, "buffer", {"name": node.target}, *_tensor(attribute), here)
            else:
                values[node.name] = attribute
        elif node.op == "call_function":
            yield from _call(node, values, here)
        elif node.op == "output":
            given["return"] = [_plain(value, values) for value in node.args[0]]


def _call(node: torch.fx.Node, values: dict[str, Any], path: str) -> Iterator[Call]:
    target = _target(node)
    if target in _INLINED:
        yield from _inline(node, values, path)
        return
    if target == "getitem" and isinstance(values.get(node.args[0].name), list):
        values[node.name] = values[node.args[0].name][node.args[1]]  # of an inlined block
        return
    shape, dtype = _tensor(node.meta.get("val"))
    if dtype == "none":
        if not _is_scalar(node):
            raise GraphError(f"op {target} is not understood", where=path or node.name)
        return
    if len(node.args) and isinstance(node.target, torch._ops.OpOverload):
        names = [argument.name for argument in node.target._schema.arguments]
    else:
        names = ["input", "index"]
    arguments = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    plain = {key: _plain(value, values) for key, value in arguments.items()}
    yield Call(node.name, target, plain, shape, dtype, path)
    if is_in_place(str(node.target)) and isinstance(node.args[0], torch.fx.Node):
        values[node.args[0].name] = Ref(node.name)  # later readers see the value written in place


def _inline(node: torch.fx.Node, values: dict[str, Any], path: str) -> Iterator[Call]:
    """Yield the calls of a block that only switches gradients or autocast."""
    at = next(i for i, a in enumerate(node.args) if isinstance(_plain(a, values), nn.Module))
    block = values[node.args[at].name]
    placeholders = [inner.name for inner in block.graph.nodes if inner.op == "placeholder"]
    given = {
        name: _plain(value, values)
        for name, value in zip(placeholders, node.args[at + 1 :], strict=True)
    }
    yield from _walk(block, given, path)
    values[node.name] = given["return"]


def _plain(value: Any, values: dict[str, Any]) -> Any:
    """An argument without torch: a Ref, a scalar, or a list of them."""
    if isinstance(value, torch.fx.Node):
        if value.name in values:
            return values[value.name]
        return UNKNOWN if _is_scalar(value) else Ref(value.name)
    if isinstance(value, list | tuple):
        return [_plain(item, values) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _is_scalar(node: torch.fx.Node) -> bool:
    """Whether a node gives a number of the shape arithmetic, or nothing (an assertion)."""
    value = node.meta.get("val")
    numbers = bool | int | float | torch.SymInt | torch.SymFloat | torch.SymBool
    nothing = value is None and ("assert" in str(node.target) or "sym_" in str(node.target))
    return nothing or isinstance(value, numbers)


def _tensor(value: Any) -> tuple[tuple[Size, ...], str]:
    """Shape and dtype of a result, the first one's of several."""
    if isinstance(value, list | tuple):
        value = next((item for item in value if isinstance(item, torch.Tensor)), None)
    if not isinstance(value, torch.Tensor):
        return (), "none"
    shape = tuple(s if isinstance(s, int) else str(s.node.expr) for s in value.shape)
    if value.dtype == torch.bool:
        return shape, "bool"
    if value.dtype.is_complex:
        return shape, "complex"
    return shape, "float" if value.dtype.is_floating_point else "int"


def _target(node: torch.fx.Node) -> str:
    name = getattr(node.target, "__name__", str(node.target))
    if isinstance(node.target, torch._ops.OpOverload):
        return base_target(str(node.target))
    return name


def _path(node: torch.fx.Node) -> str:
    stack: Iterable[tuple[str, Any]] = (node.meta.get("nn_module_stack") or {}).values()
    paths = [path for path, _ in stack]
    return paths[-1].removeprefix("L['self'].").removeprefix("L__self__") if paths else ""


def _default_inputs(module: nn.Module) -> tuple[Any, ...]:
    tensor = next(module.parameters(), None)
    if tensor is None:
        tensor = next(module.buffers(), torch.empty(0))
    return (torch.zeros(BATCH, QUERY, dtype=torch.long, device=tensor.device),)


def _switches(module: nn.Module) -> dict[str, Any]:
    """Keyword arguments: a transformers model hands back a cache unless told not to."""
    config = getattr(module, "config", None)
    return {"use_cache": False} if hasattr(config, "use_cache") else {}


def _module_name(module: nn.Module) -> str:
    shape = getattr(module, "shape", None)
    config = getattr(module, "config", None)
    return (
        getattr(shape, "name", "") or getattr(config, "name_or_path", "") or type(module).__name__
    )


def _max_positions(module: nn.Module) -> int:
    """Longest context that a decoder of ours, or of transformers, says it was made for."""
    shape = getattr(module, "shape", None)
    config = getattr(module, "config", None)
    known = getattr(shape, "max_positions", 0) or getattr(config, "max_position_embeddings", 0)
    return known if type(known) is int else 0


class _quiet:
    """Silence torch.export's own warnings, which speak to its developers."""

    def __enter__(self) -> None:
        self.level = logging.getLogger("torch").level
        logging.getLogger("torch").setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("torch").setLevel(self.level)
