"""From a torch.nn.Module or an ExportedProgram to a Graph.

`torch.export` traces the module; `read_exported` copies the trace into a `Program` (no torch);
the passes and `plait.models.graph.lower` do the rest. The only file of this package that needs
torch, but for saving.

How a trace is read:

- Its sizes are examples. What has a row a token has ``batch * query`` rows in the Graph, and the
  keys of attention are ``context`` tokens, whether the program takes a cache of earlier keys or
  (none, as in most traces) attends to its own tokens only. So one Graph serves prefill and decode.
- A fused projection (GPT-2's c_attn, Phi-3's qkv_proj and gate_up_proj) stays the one linear that
  it is; ``kv_cout`` says how many of its outputs are keys and values.
- Positions, masks and rotary tables depend on no activation and are no ops. Views, casts, copies
  and joins make no new numbers and are none either.
- A mask tells whether attention is causal, and its window. A mask that the program is given as an
  input tells nothing: then attention counts as not causal.
- Weights that are tied count once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, cast

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
        with torch.no_grad(), warnings.catch_warnings(), _quiet(), _without_stack_traces():
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
    returned: dict[str, Any] = {}
    calls = list(_walk(program.graph_module, returned, ""))
    outputs = [value.name for value in returned["return"] if isinstance(value, Ref)]
    return assemble(name, calls, given, outputs)


def _walk(
    module: torch.fx.GraphModule, given: dict[str, Any], path: str, prefix: str = ""
) -> Iterator[Call]:
    """Yield every tensor of a module; blocks are inlined, their names behind a ``prefix``.

    ``given`` has the values of a block's arguments, and gets what is returned under "return".
    """
    values: dict[str, Any] = dict(given)
    if prefix:
        calls = (node for node in module.graph.nodes if node.op in ("call_function", "get_attr"))
        tensors = (node.name for node in calls if not _is_scalar(node))
        values |= {name: Ref(prefix + name) for name in tensors}
    for node in module.graph.nodes:
        here, name = _path(node) or path, prefix + node.name
        if node.op == "placeholder":
            if node.name not in values:
                yield Call(name, "input", {}, *_tensor(node.meta.get("val")), here)
        elif node.op == "get_attr":
            attribute = getattr(module, node.target, None)
            if isinstance(attribute, torch.Tensor):
                yield Call(name, "buffer", {"name": node.target}, *_tensor(attribute), here)
            else:
                values[node.name] = attribute
        elif node.op == "call_function":
            yield from _call(node, name, values, here)
        elif node.op == "output":
            given["return"] = [_plain(value, values) for value in node.args[0]]


def _call(node: torch.fx.Node, name: str, values: dict[str, Any], path: str) -> Iterator[Call]:
    target, inputs = _target(node), cast("tuple[Any, ...]", node.args)
    if target in _INLINED:
        yield from _inline(node, name, values, path)
        return
    if target == "getitem" and isinstance(values.get(inputs[0].name), list):
        values[node.name] = values[inputs[0].name][inputs[1]]  # a result of an inlined block
        return
    shape, dtype = _tensor(node.meta.get("val"))
    if dtype == "none":
        if not _is_scalar(node):
            raise GraphError(f"op {target} is not understood", where=path or name)
        return
    names = ["input", "index"]
    if isinstance(node.target, torch._ops.OpOverload):
        names = [argument.name for argument in node.target._schema.arguments]
    arguments = dict(zip(names, inputs, strict=False)) | dict(node.kwargs)
    plain = {key: _plain(value, values) for key, value in arguments.items()}
    yield Call(name, target, plain, shape, dtype, path)
    if is_in_place(str(node.target)) and isinstance(inputs[0], torch.fx.Node):
        values[inputs[0].name] = Ref(name)  # later readers see the value written in place


def _inline(node: torch.fx.Node, name: str, values: dict[str, Any], path: str) -> Iterator[Call]:
    """Yield the calls of a block that only switches gradients or autocast."""
    arguments = [_plain(argument, values) for argument in node.args]
    at = next(i for i, value in enumerate(arguments) if isinstance(value, nn.Module))
    block = cast("torch.fx.GraphModule", arguments[at])
    placeholders = [inner.name for inner in block.graph.nodes if inner.op == "placeholder"]
    given: dict[str, Any] = dict(zip(placeholders, arguments[at + 1 :], strict=True))
    yield from _walk(block, given, path, f"{name}.")
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
    tensor = next(itertools.chain(module.parameters(), module.buffers()), torch.empty(0))
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


@contextlib.contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Leave out where in the Python code each node was made: a tenth of the time, never read."""
    config = getattr(torch.fx, "config", None)  # since torch 2.10; before, the time is spent
    name = "do_not_emit_stack_traces"
    earlier = getattr(config, name, None)
    if earlier is None:
        yield
        return
    setattr(config, name, True)
    try:
        yield
    finally:
        setattr(config, name, earlier)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch.export's own warnings, which speak to its developers."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.__trace")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
