""".pt2 files: saved by torch.export, read here without torch and without running pickled code.

A .pt2 is a zip of one JSON document a program, of weights, and of pickled example inputs.
`torch.export.load` unpickles (``weights_only=False`` for some weights and as a fall-back for
inputs), so it must not see a file from a stranger. A Graph needs the JSON alone: no other member is
opened.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from plait.errors import GraphError
from plait.files import reason, write_atomically
from plait.models.graph.graph import Graph
from plait.models.graph.lower import graph_from_program
from plait.models.graph.program import (
    UNKNOWN,
    Call,
    Program,
    Ref,
    Size,
    assemble,
    base_target,
    is_in_place,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from torch.export import ExportedProgram

__all__ = ["graph_from_document", "load_archive", "read_document", "save"]

_LARGEST_JSON = 64 << 20
"""Bytes of the largest program read; Llama-2-7B's is 4 MB, and JSON takes ten times itself."""
_MOST_MEMBERS = 100_000
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")
"""How the JSON writes a symbol: sympy's ``srepr``."""

_DTYPES = {12: "bool", 9: "complex", 10: "complex", 11: "complex"} | dict.fromkeys(
    (1, 2, 3, 4, 5, 27, 28), "int"
)
"""torch's ScalarType numbers of the file format (torch/_export/serde/schema.py); all else is a
float."""


def save(program: ExportedProgram, path: str | Path) -> None:
    """Save a traced program as a .pt2 file, whole or not at all."""
    import torch

    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        sink = _Sink(file)
        torch.export.save(program, cast(IO[bytes], sink))
        if sink.error:
            raise sink.error


class _Sink(io.RawIOBase):
    """A file that keeps the first error: torch's writer in C++ ends the process on one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def write(self, data: Buffer) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def load_archive(path: str | Path) -> Graph:
    """Load the graph of a .pt2 file; anything else is a `GraphError` of one line."""
    return graph_from_document(_read_json(Path(path)), str(path))


def graph_from_document(document: dict[str, Any], path: str) -> Graph:
    """Make a graph of the JSON of a .pt2 file; ``path`` is for errors, its stem the name.

    Raises:
        GraphError: also where the document is damaged in a way that only shows deep inside.
    """
    try:
        return graph_from_program(read_document(document, Path(path).stem))
    except GraphError as error:
        raise GraphError(str(error), where=path) from None
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        damage = f"{type(error).__name__} {error}"
    except (RuntimeError, MemoryError, StopIteration) as error:  # too deep, or an end too early
        damage = type(error).__name__
    raise GraphError(
        "not a program that this version reads",
        where=path,
        got=damage,
        expected="a file of torch.export.save of torch 2.9 or later",
    )


def read_document(document: dict[str, Any], name: str) -> Program:
    """Copy the program of a document into a `Program`."""
    module = document["graph_module"]
    given = dict(_given(spec) for spec in module["signature"]["input_specs"])
    values: dict[str, Any] = {}
    calls = [*_inputs(module["graph"]), *_walk(module["graph"], values, "")]
    returned = [t for argument in module["graph"]["outputs"] for t in _tensors_of(argument)]
    outputs = [_plain({"as_tensor": tensor}, values).name for tensor in returned]
    return assemble(name, calls, given, outputs)


_ZIP_ERRORS = (  # what zipfile raises for damaged headers, names, sizes and contents
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def _read_json(path: Path) -> dict[str, Any]:
    expected = "a .pt2 file of torch.export.save"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            found = [m for m in members if _is_program(m.filename)]
            if len(members) > _MOST_MEMBERS or len(found) != 1:
                what = f"{len(found)} programs in the file"
                raise GraphError(what, where=str(path), expected="one, from torch.export.save")
            if found[0].file_size > _LARGEST_JSON:
                raise GraphError(
                    "the program is too large",
                    where=str(path),
                    got=f"{found[0].file_size:,} bytes",
                    expected=f"at most {_LARGEST_JSON:,}",
                )
            with archive.open(found[0]) as member:
                text = member.read(_LARGEST_JSON + 1)
    except OSError as error:
        raise GraphError(f"cannot be read: {reason(error)}", where=str(path)) from None
    except _ZIP_ERRORS as error:
        raise GraphError(
            f"not a whole zip file: {error}", where=str(path), expected=expected
        ) from None
    if len(text) > _LARGEST_JSON:
        raise GraphError("the program is larger than its header says", where=str(path))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(
            f"the program is no JSON: {error}", where=str(path), expected=expected
        ) from None
    if not isinstance(document, dict):
        raise GraphError("the program is no JSON object", where=str(path), expected=expected)
    return document


def _is_program(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[1] == "models" and parts[2].endswith(".json")


def _given(spec: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    """Name of an input of the program, its role, and its name in the module."""
    kind, fields = next(iter(spec.items()))
    names = [argument["name"] for argument in _tensors_of(fields.get("arg", {}))]
    name = names[0] if names else f"({kind})"
    if kind == "parameter":
        return name, ("parameter", fields["parameter_name"])
    if kind == "buffer":
        return name, ("buffer", fields["buffer_name"])
    if kind == "tensor_constant":
        return name, ("buffer", fields["tensor_constant_name"])
    return name, ("input", name)


def _tensors_of(argument: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The tensors of an argument: {"name": ...}, {"as_tensor": {"name": ...}} or a list of them."""
    if "name" in argument and "graph" not in argument:
        yield argument
    elif "as_tensor" in argument:
        yield argument["as_tensor"]
    elif "as_tensors" in argument:
        yield from argument["as_tensors"]


def _inputs(graph: dict[str, Any]) -> Iterator[Call]:
    for argument in graph["inputs"]:
        for tensor in _tensors_of(argument):
            yield Call(tensor["name"], "input", {}, *_tensor(graph, tensor["name"]), "")


def _walk(
    graph: dict[str, Any], values: dict[str, Any], path: str, prefix: str = ""
) -> Iterator[Call]:
    """Yield every call of a graph; blocks are inlined, their names behind a ``prefix``."""
    for number, node in enumerate(graph["nodes"]):
        here = _path(node["metadata"].get("nn_module_stack", "")) or path
        target = base_target(node["target"])
        results = [tensor["name"] for out in node["outputs"] for tensor in _tensors_of(out)]
        if any("as_graph" in item["arg"] for item in node["inputs"]):
            yield from _inline(node, results, values, here, f"{prefix}{number}.")
            continue
        args = {
            item["name"] or str(index): _plain(item["arg"], values)
            for index, item in enumerate(node["inputs"])
        }
        if not results:
            _check_empty(node, target, here)
            continue
        several = len(results) > 1 or "as_tensor" not in node["outputs"][0]
        name = f"{prefix}{results[0]}" + ("_all" if several else "")
        yield Call(name, target, args, *_tensor(graph, results[0]), here)
        for index, result in enumerate(results):
            if several:
                one = {"input": Ref(name), "index": index}
                yield Call(prefix + result, "getitem", one, *_tensor(graph, result), here)
            values[result] = Ref(prefix + result)
        first = node["inputs"][0]["arg"].get("as_tensor") if node["inputs"] else None
        if first and is_in_place(node["target"]):
            values[first["name"]] = Ref(name)  # later readers see the value written in place


def _inline(
    node: dict[str, Any], results: list[str], values: dict[str, Any], path: str, prefix: str
) -> Iterator[Call]:
    """Yield the calls of a block that only switches gradients or autocast."""
    target = node["target"].removeprefix("torch.ops.")
    if not any(name in target for name in ("wrap_with_set_grad_enabled", "wrap_with_autocast")):
        raise GraphError(f"op {target} is not understood", where=path or "the top module")
    arguments = [item["arg"] for item in node["inputs"]]
    at = next(index for index, argument in enumerate(arguments) if "as_graph" in argument)
    block = arguments[at]["as_graph"]["graph"]
    passed = [_plain(argument, values) for argument in arguments[at + 1 :]]
    inner = {
        tensor["name"]: value
        for argument, value in zip(block["inputs"], passed, strict=True)
        for tensor in _tensors_of(argument)
    }
    yield from _walk(block, inner, path, prefix)
    returned = [t["name"] for argument in block["outputs"] for t in _tensors_of(argument)]
    for result, name in zip(results, returned, strict=True):
        values[result] = inner[name]


def _check_empty(node: dict[str, Any], target: str, path: str) -> None:
    """Only shape arithmetic and assertions may give no tensor."""
    scalar = node["outputs"] and all(
        next(iter(out)).startswith("as_sym") or "as_int" in out for out in node["outputs"]
    )
    if not scalar and "assert" not in target and "sym_" not in target:
        raise GraphError(f"op {target} is not understood", where=path or "the top module")


def _plain(argument: dict[str, Any], values: dict[str, Any]) -> Any:
    """A Ref, a scalar, or a list of them."""
    kind, value = next(iter(argument.items()))
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return values.get(value["name"], Ref(value["name"]))
    if kind in ("as_tensors", "as_optional_tensors"):
        each = [v if "as_tensor" in v or "as_none" in v else {"as_tensor": v} for v in value]
        return [_plain(v, values) for v in each]
    if kind.startswith("as_sym"):
        if isinstance(value, list):
            return [v.get("as_int", UNKNOWN) for v in value]
        return value.get("as_int", UNKNOWN)
    return value


def _tensor(graph: dict[str, Any], name: str) -> tuple[tuple[Size, ...], str]:
    """Shape and dtype of a tensor."""
    meta = graph["tensor_values"][name]
    sizes = tuple(
        size["as_int"] if "as_int" in size else _SYMBOL.sub(r"\1", str(size["as_expr"]["expr_str"]))
        for size in meta["sizes"]
    )
    return sizes, _DTYPES.get(meta["dtype"], "float")


def _path(stack: str) -> str:
    """The innermost module of "key,path,type;key,path,type"."""
    fields = stack.split(";")[-1].split(",")
    return fields[1].removeprefix("L['self'].") if len(fields) > 2 else ""
