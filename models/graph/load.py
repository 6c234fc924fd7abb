"""`load_graph`: a Graph from whatever a user has of a model. Loads torch only to trace."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.errors import GraphError, SpecError, unknown_name
from plait.files import reason
from plait.models.graph.archive import load_archive
from plait.models.graph.cache import cached
from plait.models.graph.graph import Graph
from plait.models.llm.config import LLMShape, load_shape, shape_names
from plait.models.llm.huggingface import read_json
from plait.models.llm.matmul_free_shape import (
    MatMulFreeShape,
    load_matmul_free_shape,
    matmul_free_names,
)

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

__all__ = ["build_module", "load_graph"]

_LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_MOST_LAYERS = 1024
_LARGEST_SIZE = 1 << 26  # more than any vocabulary or width


def load_graph(
    source: str | Path | LLMShape | MatMulFreeShape | Graph | nn.Module | ExportedProgram,
    example_inputs: tuple[Any, ...] | None = None,
) -> Graph:
    """Load the graph of a model.

    Args:
        source: a zoo name or its shape (our plain decoder or MatMul-free model, without weights),
            a Hugging Face folder (transformers' model of its config.json, without weights and
            without code from the folder), a .pt2 file (read without running pickled code), a
            torch.nn.Module, or what torch.export made of one. A Graph is handed back.
        example_inputs: of a module; by default tokens.

    >>> load_graph("llama-2-7b").parameters
    6738415616
    """
    if isinstance(source, Graph):
        return source
    if isinstance(source, LLMShape | MatMulFreeShape):
        return _from_shape(source)
    if isinstance(source, str | Path):
        return _from_path(source)
    torch = sys.modules.get("torch")  # who has a module has loaded torch
    if torch is not None:
        from plait.models.graph.export import export_module, graph_from_exported

        if isinstance(source, torch.export.ExportedProgram):
            return graph_from_exported(source)
        if isinstance(source, torch.nn.Module):
            return export_module(source, example_inputs)
    raise GraphError(
        "not a model",
        got=type(source).__name__,
        expected="a name, a .pt2 file, a Hugging Face folder or a torch.nn.Module",
    )


def _from_path(source: str | Path) -> Graph:
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name too long to be a path, say
        raise GraphError(f"cannot be read: {reason(error)}", where=str(source)[:80]) from None
    if is_folder:
        return _from_folder(path)
    if path.suffix == ".pt2" or (is_file and path.suffix not in (".yaml", ".yml")):
        return load_archive(path)
    return _from_shape(_shape_of(source))


def build_module(source: str | Path) -> nn.Module:
    """Build a model without weights: what torch.export needs of it, and no more.

    Args:
        source: a zoo name, the YAML file of a shape, or a Hugging Face folder.
    """
    path = Path(source)
    if path.is_dir():
        _configuration(path)
        return _build(path)
    if path.suffix == ".pt2":
        raise SpecError("is exported already", where=str(source))
    return _module(_shape_of(source))


def _shape_of(source: str | Path) -> LLMShape | MatMulFreeShape:
    """Of a zoo name or the YAML file of a shape."""
    if str(source) in matmul_free_names():
        return load_matmul_free_shape(str(source))
    if Path(source).suffix not in (".yaml", ".yml") and str(source) not in shape_names():
        known = [*shape_names(), *matmul_free_names()]
        raise SpecError(unknown_name("model", str(source), known))
    return load_shape(source)


def _from_shape(shape: LLMShape | MatMulFreeShape) -> Graph:
    def trace() -> Graph:
        from plait.models.graph.export import export_module

        return export_module(_module(shape))

    return cached(json.dumps(dataclasses.asdict(shape)), trace)


def _module(shape: LLMShape | MatMulFreeShape) -> nn.Module:
    """Without weights."""
    import torch

    if isinstance(shape, LLMShape):
        from plait.models.llm.decoder import build_decoder

        return build_decoder(shape)
    from plait.models.llm.matmul_free import MatMulFree

    with torch.device("meta"):
        return MatMulFree(shape)


def _from_folder(folder: Path) -> Graph:
    """Trace the model that a folder's config.json describes, on the meta device."""
    values = _configuration(folder)
    name = folder.resolve().name

    def trace() -> Graph:
        from plait.models.graph.export import export_module

        return export_module(_build(folder), name=name)

    return cached(f"{name}\n{json.dumps(values, sort_keys=True)}", trace)


def _configuration(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    values = read_json(path)
    _check_sizes(values, str(path))
    return values


def _build(folder: Path) -> nn.Module:
    """A folder's model without weights; `_configuration` has checked its sizes."""
    import torch
    import transformers

    try:
        with _quiet_transformers(transformers), torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return transformers.AutoModelForCausalLM.from_config(
                config, attn_implementation="sdpa", trust_remote_code=False
            )
    except Exception as error:  # transformers raises many kinds for a bad configuration
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise GraphError(
            f"transformers cannot build it: {first[0][:300]}", where=str(folder / "config.json")
        ) from None


@contextlib.contextmanager
def _quiet_transformers(transformers: Any) -> Any:
    """Keep advice to users of transformers from our error stream."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


def _check_sizes(values: dict[str, Any], where: str) -> None:
    """Refuse sizes that would only exhaust memory: a module is built a layer at a time."""
    for key, value in values.items():
        if isinstance(value, dict):
            _check_sizes(value, f"{where}: {key}")
        if isinstance(value, bool) or not isinstance(value, int) or key.endswith("_id"):
            continue
        most = _MOST_LAYERS if key in _LAYER_KEYS else _LARGEST_SIZE
        if not -1 <= value <= most:
            raise GraphError(
                "absurd size", where=f"{where}: {key}", got=value, expected=f"<= {most}"
            )
