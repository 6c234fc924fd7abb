"""Runs the sparse DSP machine's Verilog on a layer of SmolLM2 beside its golden values.

Takes a machine, gives a Cosimulation: one decode step of a whole pruned layer or of what follows
the layers, or a linear as MV and as MM; every vector that a unit writes is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plait.cosimulation import TEXT, Cosimulation, linears_of
from plait.errors import SpecError, unknown_name
from plait.hwgen import native
from plait.hwgen.design import Design
from plait.hwgen.generate import design_of
from plait.hwgen.sparse_dsp.checked import CheckedProgram
from plait.hwgen.sparse_dsp.layer import Layer, append_layer, channels_of, pruned
from plait.hwgen.sparse_dsp.link import Image
from plait.hwgen.sparse_dsp.operands import read_vector
from plait.hwgen.sparse_dsp.parameters import core_from
from plait.models.graph import load_graph
from plait.run_native import run_native
from plait.sim.compiler.relocatable import Vector
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES, Memory, threshold_of
from plait.sim.families.sparse_dsp_verilog import Run, run_units
from plait.sim.spec.sparse_dsp import BLOCK, SparseDsp

if TYPE_CHECKING:
    from plait.models.llm.decoder import Decoder

__all__ = ["cosimulate_sparse", "layer_of", "predicted", "run_checked"]

_FORMATS = {"int8": 8, "int4": 4}
_INT8 = 127
_MODEL, _OUTPUT = "smollm2-135m", "lm_head"


def cosimulate_sparse(
    machine: SparseDsp,
    op: str | None = None,
    *,
    formats: Sequence[str] = ("int4",),
    tokens: int = 16,
    stall: float = 0.0,
    seed: int = 0,
    trace: str | Path | None = None,
) -> Iterator[Cosimulation]:
    """Run a decode step of layer 0, or one linear, with SmolLM2's weights.

    Where the machine's density is not 1, weights are pruned to 2, 4, 8 and 16 of 16, each in a
    quarter of the blocks. The keys and
    values of the context are laid out by the host.

    Args:
        op: one linear, such as ``layers.0.mlp.down_proj``: the last token as MV, the last four (the
            rows of a tile) as MM; ``lm_head`` takes the final norm with it; by default the whole
            layer for the last token.
        formats: int4, int8.
        tokens: of the text: the context, its last token the one that is computed.
    """
    from plait.models.llm import load_module

    threshold_of(stall)  # refuses it before a model is loaded
    for format in formats:
        if format not in _FORMATS:
            raise SpecError(unknown_name("weight format of the layer", format, _FORMATS))
    design = design_of(machine)
    module = load_module(_MODEL)
    for format in formats:
        program = CheckedProgram(core_from(design.parameters))
        if op in (None, _OUTPUT):
            is_layer = op is None
            layer = layer_of(module, tokens) if is_layer else _after_layers(module, tokens)
            defaults = machine.formats.resolve(_MODEL, "decode")
            workload = load_graph(_MODEL).bind("decode", 1, tokens, {"weight": format}, defaults)
            append_layer(program, workload, machine, layer, section=0 if is_layer else 1)
            result = program.checks[-1].vector
            name = "layers.0" if is_layer else _OUTPUT
            shape = (1, result.symbol.words * BLOCK, len(layer.hidden))
        else:
            result, shape = _append_linear(program, module, op, _FORMATS[format], tokens)
            name = op
        image = program.image()
        expected = predicted(program, stall, seed).times.cycles
        run = run_checked(design, image, expected, stall, seed, trace)
        different = program.different(image, run.results)
        at = image.address_of(result)
        words = run.results[at : at + result.blocks]
        yield Cosimulation(
            machine=f"{machine.name} {design.parameters['Rows']} rows",
            op=name,
            format=format,
            group_size=BLOCK,
            activation="int8",
            shape=shape,
            stall=stall,
            values_compared=sum(check.vector.elements for check in program.checks),
            values_different=sum(different.values()),
            cycles_predicted=expected,
            cycles_measured=run.cycles,
            cycles_by_cause=run.counters,
            outputs=read_vector(words, result.elements).astype(np.float32)[None],
        )


def predicted(program: CheckedProgram, stall: float = 0.0, seed: int = 0) -> Run:
    """When the units of a program run, for this very pattern of stalls; no linker takes part."""
    memory = Memory(MEMORY_LATENCY_CYCLES, threshold_of(stall), seed)
    return run_units(program.units, program.core, memory)


def run_checked(
    design: Design,
    image: Image,
    cycles: int,
    stall: float = 0.0,
    seed: int = 0,
    trace: str | Path | None = None,
) -> native.Run:
    """Run a program; its `results` are the whole memory.

    Args:
        cycles: as predicted.
        stall, seed, trace: as of `plait.run_native.run_native`.
    """
    return run_native(
        design,
        image.blocks,
        results_at=0,
        results_words=image.words,
        predicted=cycles,
        stall=stall,
        seed=seed,
        trace=trace,
    )


def _append_linear(
    program: CheckedProgram, module: Decoder, op: str, bits: int, tokens: int
) -> tuple[Vector, tuple[int, int, int]]:
    rows = program.core.rows
    if tokens < rows:
        raise SpecError(
            "too few rows for a tile", where="tokens", got=tokens, expected=f">= {rows}"
        )
    ((weights, captured),) = linears_of(module, op, tokens).values()
    matrix, scales = pruned(weights.astype(np.float64), bits)
    scale = float(np.abs(captured).max()) / _INT8
    inputs = np.rint(captured / scale).astype(np.int8)
    sums = inputs.astype(np.int64) @ matrix.codes.T.astype(np.int64)
    largest = np.abs(sums * scales).max() / 32000
    channels = channels_of(scales / largest, is_int8=False)
    tile = [program.vector(row) for row in inputs[-rows:]]
    result = program.multiply("mv", matrix, channels, tile[-1:])
    program.multiply("mm", matrix, channels, tile, is_tile=True)
    return result, (rows, *matrix.codes.shape)


def layer_of(module: Decoder, tokens: int) -> Layer:
    """Layer 0 with the state of the last token of the text."""
    import torch

    ids = module.tokenizer(TEXT)["input_ids"]
    if not 2 <= tokens <= len(ids):
        raise SpecError(
            "the text is shorter", where="tokens", got=tokens, expected=f"2 to {len(ids)}"
        )
    with torch.no_grad():
        _, keys, values = module(torch.tensor([ids[:tokens]]))
        hidden = module.embed_tokens(torch.tensor(ids[tokens - 1]))
    layer: Any = module.layers[0]
    angles = (tokens - 1) * module.rope_frequencies.numpy().astype(np.float64)
    both = np.concatenate([angles, angles])
    named = {**dict(layer.self_attn.named_modules()), **dict(layer.mlp.named_modules())}
    matrices = {n: m for n, m in named.items() if isinstance(m, torch.nn.Linear)}
    norms = ("input_layernorm", "post_attention_layernorm")
    return Layer(
        weights={n: m.weight.detach().numpy().astype(np.float64) for n, m in matrices.items()},
        gains={n: getattr(layer, n).weight.detach().numpy().astype(np.float64) for n in norms},
        hidden=hidden.numpy().astype(np.float64),
        past_keys=keys[0][0, :, :-1].transpose(0, 1).numpy().astype(np.float64),
        past_values=values[0][0, :, :-1].transpose(0, 1).numpy().astype(np.float64),
        cosines=np.cos(both),
        sines=np.sin(both),
        epsilon=module.shape.norm_eps,
    )


def _after_layers(module: Decoder, tokens: int) -> Layer:
    """The final norm and the output matrix with the state of the last token of the text."""
    captured: list[Any] = []
    norm: Any = module.norm
    hook = norm.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    ((weights, _),) = linears_of(module, _OUTPUT, tokens).values()
    hook.remove()
    return Layer(
        weights={_OUTPUT: weights.astype(np.float64)},
        gains={"norm": norm.weight.detach().numpy().astype(np.float64)},
        hidden=captured[0][0, -1].numpy().astype(np.float64),
        epsilon=module.shape.norm_eps,
    )
