"""The verbs of Plait, each one line of work: the parts that do it are imported when called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from plait.models.graph import Graph, Workload
    from plait.models.quantize import QuantizedTensor
    from plait.sim.report import Report
    from plait.sim.spec import Accelerator

__all__ = [
    "export",
    "load_accelerator",
    "load_model",
    "load_module",
    "perplexity",
    "quantize",
    "simulate",
]


def load_model(source: str | Path | torch.nn.Module, inputs: Sequence[Any] = ()) -> Graph:
    """Load the graph of a model.

    Args:
        source: a name of ``plait models``, a .pt2 file, a Hugging Face folder, or a module.
        inputs: example inputs, for a module whose own are not known.
    """
    from plait.models.graph import load_graph

    return load_graph(source, *inputs)


def load_module(source: str | Path) -> torch.nn.Module:
    """Load a torch.nn.Module with real weights and ``.tokenizer``.

    Args:
        source: ``smollm2-135m``, a GGUF file or a Hugging Face folder.
    """
    from plait.models.llm import load_module as load

    return load(source)


def quantize(
    source: np.ndarray | torch.nn.Module,
    format: str,
    group_size: int | str = 128,
    method: str = "rtn",
    **configuration: Any,
) -> QuantizedTensor | torch.nn.Module:
    """Quantise the weights of a module, or one array.

    Args:
        source: a module, whose block linears become QuantizedLinear in a copy; or an array
            [outputs, inputs].
        format: a name of ``plait formats``.
        group_size: weights along the inputs that share a scale; ``channel`` or ``tensor``.
        method: how codes are chosen; ``rtn`` rounds to nearest.
        configuration: of the method; ``scale_bits=8`` adds second-level scales.
    """
    from plait.models import quantize as part

    return part.quantize(source, format, group_size=group_size, method=method, **configuration)


def perplexity(module: torch.nn.Module, text: str, window: int = 512, windows: int = 56) -> float:
    """Measure exp(mean negative log-likelihood) over all predicted tokens.

    Args:
        module: a causal language model with a ``.tokenizer``.
        text: plain text, tokenised once.
        window: tokens of a window; windows do not overlap, positions restart in each.
        windows: how many, from the start of the text.
    """
    from plait.models import quantize as part

    return part.perplexity(module, text, window=window, windows=windows)


def export(module: torch.nn.Module) -> Graph:
    """Export a module by torch.export and read it as a Graph; quantised weights keep formats."""
    from plait.models.graph import export_module

    return export_module(module)


def load_accelerator(source: str | Path | Accelerator) -> Accelerator:
    """Load a machine: a name of ``plait machines`` or a YAML file.

    >>> load_accelerator("bitmod-lossy").clock_hz
    1000000000.0
    """
    from plait.sim.spec import load_accelerator as load

    return load(source)


def simulate(
    model: str | Path | torch.nn.Module | Graph | Workload,
    machine: str | Path | Accelerator,
    *,
    phase: str = "decode",
    context: int = 256,
    batch: int = 1,
    fidelity: str = "closed_form",
    formats: str | Mapping[str, Any] | None = None,
) -> Report:
    """Simulate one step of a model on a machine.

    Args:
        model: whatever `load_model` takes, a Graph, or a Workload (which keeps its own sizes).
        machine: whatever `load_accelerator` takes.
        phase: ``decode`` (one token a sequence) or ``prefill`` (the whole prompt).
        context: tokens attended to, the new one included; in prefill the prompt's length.
        batch: sequences.
        fidelity: ``published`` (exactly as the paper's own simulator) or ``closed_form``.
        formats: ``{"weight": "int4", "kv": 8}``, one such mapping an op pattern, or "w4a16kv16".

    >>> report = simulate("llama-2-7b", "bitmod-lossy", fidelity="published")
    >>> report.cycles
    81344464
    """
    from plait import sim

    return sim.simulate(
        model,
        machine,
        phase=phase,
        context=context,
        batch=batch,
        fidelity=fidelity,
        formats=formats,
    )
