"""The verbs of Plait, each one line of work: the parts that do it are imported when called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from plait.cosimulation import Cosimulation
    from plait.hwgen.bit_serial.area import Part
    from plait.hwgen.fpga import Mapped, Routed
    from plait.hwgen.generate import Manifest
    from plait.models.graph.graph import Graph
    from plait.models.graph.rewrites.base import Rewrite
    from plait.models.graph.workload import Workload
    from plait.models.quantize.tensor import QuantizedTensor
    from plait.sim.report.report import Report
    from plait.sim.serving.metrics import Outcome
    from plait.sim.spec.base import Accelerator

Progress = Callable[[int, int], None]
"""Called with the work done and the whole work."""

__all__ = [
    "agreement",
    "area",
    "cosimulate",
    "execute",
    "export",
    "generate",
    "load_accelerator",
    "load_model",
    "load_module",
    "long_context",
    "map_to_fpga",
    "pareto",
    "perplexity",
    "quantize",
    "rewrite",
    "search",
    "serve",
    "simulate",
    "sweep",
]


def load_model(
    source: str | Path | torch.nn.Module, inputs: tuple[Any, ...] | None = None
) -> Graph:
    """Load the graph of a model.

    Args:
        source: a name of ``plait models``, a .pt2 file, a Hugging Face folder, or a module.
        inputs: example inputs of a module; by default tokens.
    """
    from plait.models.graph.load import load_graph

    return load_graph(source, inputs)


def load_module(source: str | Path, progress: Progress | None = None) -> torch.nn.Module:
    """Load a torch.nn.Module with real weights, ``.tokenizer`` and ``.weights_note``.

    Args:
        source: ``smollm2-135m``, a GGUF file or a Hugging Face folder.
        progress: called with the tensors loaded and the tensors in all.
    """
    from plait.models.llm.weights import load_module as load

    return load(source, progress)


@overload
def quantize(
    source: torch.nn.Module,
    format: str,
    group_size: int | str | None = None,
    method: str = "rtn",
    **configuration: Any,
) -> torch.nn.Module: ...
@overload
def quantize(
    source: np.ndarray,
    format: str,
    group_size: int | str | None = None,
    method: str = "rtn",
    **configuration: Any,
) -> QuantizedTensor: ...
def quantize(
    source: np.ndarray | torch.nn.Module,
    format: str,
    group_size: int | str | None = None,
    method: str = "rtn",
    **configuration: Any,
) -> QuantizedTensor | torch.nn.Module:
    """Quantise the weights of a module, or one array.

    Args:
        source: a module, whose block linears become QuantizedLinear in a copy; or an array
            [outputs, inputs].
        format: a name of ``plait formats``.
        group_size: weights along the inputs that share a scale, ``channel`` or ``tensor``;
            by default the format's own, which is 128 for most.
        method: how codes are chosen; ``rtn`` rounds to nearest.
        configuration: of the method; ``scale_bits=8`` adds second-level scales, ``progress=``
            is called with the weights quantised and the weights in all.
    """
    from plait.models.quantize.methods import quantize as part

    result: QuantizedTensor | torch.nn.Module
    result = part(source, format, group_size=group_size, method=method, **configuration)
    return result


def perplexity(
    module: torch.nn.Module,
    text: str,
    window: int = 512,
    windows: int = 56,
    progress: Progress | None = None,
) -> float:
    """Measure exp(mean negative log-likelihood) over all predicted tokens.

    Args:
        module: a causal language model with a ``.tokenizer``.
        text: plain text, tokenised once.
        window: tokens of a window; windows do not overlap, positions restart in each.
        windows: how many, from the start of the text.
        progress: called with the windows done and the windows in all.
    """
    from plait.models.quantize import metrics

    return metrics.perplexity(module, text, window, windows, progress=progress)


@overload
def rewrite(
    source: torch.nn.Module, rewrites: str | Rewrite | Iterable[str | Rewrite]
) -> torch.nn.Module: ...
@overload
def rewrite(source: Graph, rewrites: str | Rewrite | Iterable[str | Rewrite]) -> Graph: ...
def rewrite(
    source: torch.nn.Module | Graph, rewrites: str | Rewrite | Iterable[str | Rewrite]
) -> torch.nn.Module | Graph:
    """Change what a model computes: attention variants, rounded KV, small feed-forward parts.

    Args:
        source: a module from `load_module`, which gets the values (weights are shared); or a
            Graph, which gets the costs.
        rewrites: such as ``"lm-infinite:sinks=4,window=256"``, see ``plait rewrites``.
    """
    from plait.models.graph.graph import Graph as GraphType
    from plait.models.graph.rewrites.registry import change_graph

    if isinstance(source, GraphType):
        return change_graph(source, rewrites)
    from plait.models.attention.apply import rewrite_module

    return rewrite_module(source, rewrites)


def long_context(
    module: torch.nn.Module, text: str, contexts: Iterable[int] | None = None, **options: Any
) -> pd.DataFrame:
    """Measure perplexity of the same tokens after more and more context, and a needle test.

    Args:
        module: from `load_module` or `rewrite`.
        text: plain text.
        contexts: tokens before the predicted ones, a row each; by default 256, 512 and 1024.
        options: ``continuation``, ``windows``, ``needles`` and ``progress``, see
            `plait.models.attention.evaluate.long_context`.
    """
    from plait.models.attention.evaluate import CONTEXTS
    from plait.models.attention.evaluate import long_context as part

    return part(module, text, tuple(contexts or CONTEXTS), **options)


def export(
    module: torch.nn.Module,
    path: str | Path | None = None,
    inputs: tuple[Any, ...] | None = None,
) -> Graph:
    """Export a module by torch.export and read it as a Graph; quantised weights keep formats.

    Args:
        module: a decoder LLM, or a part of one.
        path: also save the exported program there, as a .pt2 file.
        inputs: example inputs; by default tokens.
    """
    from plait.models.graph.archive import save
    from plait.models.graph.export import export_module, export_program

    graph = export_module(module, inputs)  # first: it names what it does not understand
    if path is not None:
        save(export_program(module, inputs), path)
    return graph


def load_accelerator(source: str | Path | Accelerator) -> Accelerator:
    """Load a machine: a name of ``plait machines`` or a YAML file.

    >>> load_accelerator("bitmod-lossy").clock_hz
    1000000000.0
    """
    from plait.sim.spec.load import load_accelerator as load

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
    rewrites: str | Rewrite | Iterable[str | Rewrite] | None = None,
    trace: str | Path | None = None,
) -> Report:
    """Simulate one step of a model on a machine.

    Args:
        model: whatever `load_model` takes, a Graph, or a Workload (which keeps its own sizes).
        machine: whatever `load_accelerator` takes.
        phase: ``decode`` (one token a sequence) or ``prefill`` (the whole prompt).
        context: tokens attended to, the new one included; in prefill the prompt's length.
        batch: sequences.
        fidelity: ``published`` (exactly as the paper's own simulator), ``closed_form``; where a
            family has events, ``timeline``; of a machine whose program there is Verilog for,
            ``verilog``.
        formats: ``{"weight": "int4", "kv": 8}``, one such mapping an op pattern, or "w4a16kv16".
        rewrites: changes of the model such as ``"lm-infinite:sinks=10,window=4096"``, in their
            order; the report says which change its outputs.
        trace: also write there how instructions run in time, for a trace viewer; of machines with
            instruction queues, at any fidelity but ``closed_form``.

    >>> report = simulate("llama-2-7b", "bitmod-lossy", fidelity="published")
    >>> report.cycles
    81344464
    """
    from plait.sim.run import simulate as part

    return part(
        model,
        machine,
        phase=phase,
        context=context,
        batch=batch,
        fidelity=fidelity,
        formats=formats,
        rewrites=rewrites,
        trace=trace,
    )


def execute(
    module: torch.nn.Module,
    tokens: torch.Tensor,
    machine: str | Path | Accelerator,
    activation: Literal["fp16", "int8"] | None = None,
) -> torch.Tensor:
    """Give a quantised LLM's logits as a bit-serial machine computes them, bit for bit.

    Every quantised linear is that of the golden model; everything else stays FP32.

    Args:
        module: from `quantize` with ``scale_bits=8``: the hardware has integer group scales.
        tokens: integers (batch, window) or (window,).
        machine: whatever `load_accelerator` takes.
        activation: None for the machine's own.
    """
    from plait.errors import SpecError
    from plait.models.golden.execute import on_hardware
    from plait.models.quantize.metrics import logits_of
    from plait.sim.spec.bit_serial import BitSerial

    accelerator = load_accelerator(machine)
    if not isinstance(accelerator, BitSerial) or accelerator.pe.kind != "bit_serial":
        raise SpecError(
            "has no golden model", where=accelerator.name, expected="a machine of bit-serial PEs"
        )
    pe = accelerator.pe
    chip = on_hardware(
        module,
        activation or pe.activation,
        lanes=pe.lanes,
        guard_bits=pe.guard_bits,
        accumulator_bits=pe.accumulator_bits,
        output_accumulator_bits=pe.output_accumulator_bits,
        scale_bits=pe.scale_bits,
    )
    return logits_of(chip, tokens)


def generate(machine: str | Path | Accelerator, out_dir: str | Path, **options: Any) -> Manifest:
    """Write a machine's Verilog: packages, top, memory images, file list, Makefile, manifest.

    Args:
        machine: whatever `load_accelerator` takes.
        out_dir: the folder to write; it may exist if plait wrote it, or if it is empty.
        options: ``phase``, ``formats``, ``jobs``, ``units``, see `plait.hwgen.generate.generate`.
    """
    from plait.hwgen.generate import generate as part

    return part(load_accelerator(machine), out_dir, **options)


def cosimulate(
    machine: str | Path | Accelerator,
    weights: np.ndarray | QuantizedTensor,
    inputs: np.ndarray,
    **options: Any,
) -> Cosimulation:
    """Run one matrix multiplication on a machine's generated Verilog, and compare.

    Args:
        machine: whatever `load_accelerator` takes.
        weights: [outputs, inputs] numbers, quantised here; or a QuantizedTensor.
        inputs: activations [tokens, inputs], float16 or int8.
        options: ``format``, ``group_size``, ``stall``, ``seed``, ``phase`` and ``trace``, see
            `plait.cosimulation.cosimulate`.
    """
    from plait.cosimulation import cosimulate as part

    return part(machine, weights, inputs, **options)


def area(machine: str | Path | Accelerator, **options: Any) -> list[Part]:
    """Map the parts of a machine's array to gates: gate equivalents (2-input NANDs) by yosys.

    Beside them the PEs of FP16, ANT, OliVe and BitMoD at equal function, with published areas.

    Args:
        machine: whatever `load_accelerator` takes; a bit_serial one.
        options: ``phase`` and ``formats``, see `plait.hwgen.generate.design_of`.
    """
    from plait.hwgen.bit_serial.area import area as part
    from plait.hwgen.generate import design_of

    return part(design_of(load_accelerator(machine), **options))


def map_to_fpga(
    machine: str | Path | Accelerator,
    device: str = "xcup",
    module: str = "",
    is_routed: bool = False,
    **options: Any,
) -> Mapped | Routed:
    """DSP blocks, LUTs, flip-flops and block RAMs of a machine's Verilog, module by module.

    A whole machine takes tens of minutes the first time, then the cache answers.

    Args:
        machine: whatever `load_accelerator` takes; one that has Verilog.
        device: ``xcup`` (UltraScale+) or ``ecp5`` (Lattice).
        module: one of its modules, with all below it; the whole machine if none.
        is_routed: place and route the module on an ECP5, too, and give its clock.
        options: ``phase`` and ``formats``, see `plait.hwgen.generate.design_of`.
    """
    from plait.hwgen.fpga import map_design, route
    from plait.hwgen.generate import design_of

    design = design_of(load_accelerator(machine), **options)
    return (route if is_routed else map_design)(design, device, module)


def sweep(
    space: str | Path | Mapping[str, Any],
    graph: Graph | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Cost every design of a space: a row a design, a column a varied key, then what it costs.

    Args:
        space: a YAML file, or the same as a mapping.
        graph: a Graph in place of the key ``model``.
        out: a parquet file; a run that was killed goes on there.
        options: ``executor`` ("threads", "processes", "dask"), ``workers``, ``address``,
            ``overwrite`` and ``progress``, see `plait.sim.sweep.run.sweep`.
    """
    from plait.accuracy import accuracy_columns
    from plait.sim.sweep.run import sweep as part
    from plait.sim.sweep.space import load_space

    described = load_space(space, graph)
    return part(described, out=out, extra=accuracy_columns(described), **options)


def pareto(
    source: str | Path | pd.DataFrame,
    minimise: Sequence[str] = ("seconds", "area_mm2"),
    maximise: Sequence[str] = (),
) -> pd.DataFrame:
    """Keep the designs that no other one beats in every objective.

    Args:
        source: a sweep's frame, or its file.
        minimise: columns of which less is better.
        maximise: columns of which more is better.
    """
    import pandas as pd

    from plait.sim.sweep.pareto import front
    from plait.sim.sweep.store import read_sweep

    frame = source if isinstance(source, pd.DataFrame) else read_sweep(source)
    return front(frame, minimise, maximise)


def search(
    space: str | Path | Mapping[str, Any], graph: Graph | None = None, **options: Any
) -> pd.DataFrame:
    """Look for a space's front by NSGA-II, where it is too large to cost every design.

    Args:
        space: a YAML file, or the same as a mapping.
        graph: a Graph in place of the key ``model``.
        options: ``minimise``, ``maximise``, ``trials``, ``seed`` and ``progress``, see
            `plait.sim.sweep.genetic.search`.
    """
    from plait.accuracy import accuracy_columns
    from plait.sim.sweep.genetic import search as part
    from plait.sim.sweep.space import load_space

    described = load_space(space, graph)
    return part(described, extra=accuracy_columns(described), **options)


def serve(
    trace: str | Path | pd.DataFrame | Mapping[str, Any],
    cluster: str | Path | Mapping[str, Any],
    **options: Any,
) -> Outcome:
    """Serve requests on a cluster: what its users see, and what it costs.

    Args:
        trace: a CSV file with arrival_s, context and generated (in any order, gzipped or not), a
            DataFrame of the same, or the description of requests to generate.
        cluster: a YAML file or a mapping: model, policy, devices, network, limits, failures.
        options: ``rate_scale``, ``out`` (a folder to go on from after a kill) and ``progress``, see
            `plait.sim.serving.run.serve`.
    """
    from plait.sim.serving.run import serve as part

    return part(trace, cluster, **options)


def agreement(family: str | None = None) -> pd.DataFrame:
    """Measure the error between every pair of views, of one family or of all.

    Gives what was compared with what, in how many cases, and the largest relative difference. What
    is said of Verilog needs Verilator and takes minutes the first time.
    """
    import pandas as pd

    from plait.measured import Error, errors

    return pd.DataFrame(errors(family), columns=Error._fields)
