"""Attention of a real layer on generated Verilog, beside golden model, prediction and float64.

Takes an offload machine and a layer; splits the context over several devices, runs each device's
jobs, combines their partial results in every order of arrival and compares.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.hwgen.attention.assemble import Job, Program
from plait.hwgen.attention.recipe import expected_image, needs_second_run, widths_in
from plait.hwgen.attention.recipe import program as program_of
from plait.hwgen.design import Design
from plait.hwgen.generate import design_of
from plait.models.golden import attention as unit
from plait.models.golden.attention import Partial, Widths
from plait.models.golden.attention_operands import (
    Cache,
    Query,
    attend_cache,
    encode_cache,
    fold_query,
)
from plait.run_native import run_native
from plait.sim.families.attention_cycles import Device, closed_form, schedule
from plait.sim.families.memory_port import MEMORY_LATENCY_CYCLES, Memory, threshold_of
from plait.sim.spec import Accelerator, load_accelerator

__all__ = [
    "AttentionCosimulation",
    "DeviceRun",
    "cosimulate_attention",
    "cosimulate_attention_layer",
    "float64_attention",
    "run_device",
]

_MODEL = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class DeviceRun:
    """What one device did.

    Args:
        partials: a job.
        values_compared, values_different: 64-bit words of the results, and those that are not the
            golden model's.
        cycles_predicted: word by word where the memory stalls, else in closed form.
        cycles_measured, cycles_by_cause: the Verilog's own counters.
    """

    partials: list[Partial]
    values_compared: int
    values_different: int
    cycles_predicted: int
    cycles_measured: int
    cycles_by_cause: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AttentionCosimulation:
    """Attention of one query token over a context split over devices, compared.

    Args:
        machine, op, format: what ran.
        query_heads, kv_heads, head_size, tokens, shards: its shape.
        values_compared, values_different: as in DeviceRun, of all devices.
        cycles_predicted, cycles_measured: of all devices.
        slowest_cycles: of the device that took longest.
        orders: in which the shards arrived, each compared with the first.
        orders_different: of them, with other bits after the combine.
        split_difference, split_bound: largest difference of an output to that of one device, over
            its bound, and the largest bound in units of the largest output.
        float64_error: of the outputs against float64 attention of the cache as stored, relative in
            the Frobenius norm.
        outputs: [query_heads, head_size], divided.
    """

    machine: str
    op: str
    format: str
    query_heads: int
    kv_heads: int
    head_size: int
    tokens: int
    shards: int
    values_compared: int
    values_different: int
    cycles_predicted: int
    cycles_measured: int
    slowest_cycles: int
    orders: int
    orders_different: int
    split_difference: float
    split_bound: float
    float64_error: float
    outputs: NDArray[np.float64] = field(repr=False)

    @property
    def agrees(self) -> bool:
        """No value, cycle or order differs, and splits differ by less than their bound."""
        same = self.values_different == 0 and self.cycles_predicted == self.cycles_measured
        return same and self.orders_different == 0 and self.split_difference <= 1

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON knows it."""
        return asdict(self) | {"outputs": self.outputs.tolist()}


def run_device(
    design: Design,
    jobs: Sequence[Job],
    *,
    stall: float = 0.0,
    seed: int = 0,
    latency: int = MEMORY_LATENCY_CYCLES,
) -> DeviceRun:
    """Run jobs on a device's Verilog and compare what it wrote with the golden model.

    Args:
        stall: probability that the memory refuses or delays, a cycle and channel.
        seed: of the stalls.
        latency: of the memory, cycles.
    """
    memory = Memory(latency, threshold_of(stall), seed)
    program = program_of(design, jobs)
    predicted = _predicted(program, memory)
    run = run_native(
        design,
        program.blocks,
        results_at=program.results_at,
        results_words=program.results_words,
        predicted=predicted,
        latency=latency,
        stall=stall,
        seed=seed,
    )
    got, wanted = (
        np.ascontiguousarray(image).reshape(-1).view("<u8")
        for image in (run.results, expected_image(design, program))
    )
    return DeviceRun(
        partials=program.outputs(run.results),
        values_compared=got.size,
        values_different=int((got != wanted).sum()),
        cycles_predicted=predicted,
        cycles_measured=run.cycles,
        cycles_by_cause=run.counters,
    )


def cosimulate_attention(
    machine: str | Path | Accelerator,
    query: NDArray[np.floating],
    keys: NDArray[np.floating],
    values: NDArray[np.floating],
    *,
    format: str = "int8",
    shards: int = 1,
    stall: float = 0.0,
    seed: int = 0,
    op: str = "",
) -> AttentionCosimulation:
    """Run attention of one query token on ``shards`` devices' generated Verilog.

    Args:
        query: [query_heads, head_size], not scaled.
        keys, values: [kv_heads, tokens, head_size].
        format: of the cache: int8, or a format whose values are integers of 8 bits.
        shards: devices that share the context, in ranges of tokens.
    """
    machine = load_accelerator(machine)
    design = design_of(machine)
    kv_heads, tokens, size = keys.shape
    if not 1 <= shards <= tokens:
        raise SpecError("no such split", where="shards", got=shards, expected=f"1 to {tokens}")
    if len(query) % kv_heads:
        raise SpecError(
            "the KV heads do not divide the query heads",
            where="query",
            got=len(query),
            expected=f"a multiple of {kv_heads}",
        )
    caches = [encode_cache(k, v, format) for k, v in zip(keys, values, strict=True)]
    widths = widths_in(design)
    queries = [fold_query(heads, widths) for heads in np.split(np.asarray(query), kv_heads)]
    cuts = np.linspace(0, tokens, shards + 1).astype(int).tolist()
    runs = [
        run_device(
            design,
            [
                Job(q, cache, np.array([[first, last - first]]), cache.value_shift)
                for q, cache in zip(queries, caches, strict=True)
            ],
            stall=stall,
            seed=seed,
        )
        for first, last in itertools.pairwise(cuts)
    ]
    together = [
        [
            unit.combine_all((shard, runs[shard].partials[head]) for shard in order)
            for head in range(kv_heads)
        ]
        for order in itertools.permutations(range(shards))
    ]
    outputs = [_divided(part, cache) for part, cache in zip(together[0], caches, strict=True)]
    difference, bound = _against_one(together[0], queries, caches, shards, widths)
    exact = [float64_attention(q, cache) for q, cache in zip(queries, caches, strict=True)]
    return AttentionCosimulation(
        machine=machine.name,
        op=op,
        format=format,
        query_heads=len(query),
        kv_heads=kv_heads,
        head_size=size,
        tokens=tokens,
        shards=shards,
        values_compared=sum(run.values_compared for run in runs),
        values_different=sum(run.values_different for run in runs),
        cycles_predicted=sum(run.cycles_predicted for run in runs),
        cycles_measured=sum(run.cycles_measured for run in runs),
        slowest_cycles=max(run.cycles_measured for run in runs),
        orders=len(together),
        orders_different=sum(
            not all(a.equals(b) for a, b in zip(order, together[0], strict=True))
            for order in together
        ),
        split_difference=difference,
        split_bound=bound,
        float64_error=float(
            np.linalg.norm(np.concatenate(outputs) - np.concatenate(exact))
            / np.linalg.norm(np.concatenate(exact))
        ),
        outputs=np.concatenate(outputs),
    )


def cosimulate_attention_layer(
    machine: str | Path | Accelerator,
    *,
    layer: int = 0,
    tokens: int = 1024,
    shards: Sequence[int] = (1, 2, 3),
    format: str = "int8",
    stall: float = 0.0,
    seed: int = 0,
) -> Iterator[AttentionCosimulation]:
    """Run the attention of a layer of SmolLM2 for the last of ``tokens`` tokens of real text."""
    machine = load_accelerator(machine)
    threshold_of(stall)  # refuses it before a model is loaded
    query, keys, values = _captured(layer, tokens)
    for count in shards:
        yield cosimulate_attention(
            machine,
            query,
            keys,
            values,
            format=format,
            shards=count,
            stall=stall,
            seed=seed,
            op=f"layers.{layer}.self_attn",
        )


def _predicted(program: Program, memory: Memory) -> int:
    geometry = program.geometry
    device = Device(
        geometry.steps, geometry.vector_words, geometry.scales_per_word, geometry.result_words
    )
    jobs = [
        (job.segments, geometry.load_words(len(job.segments)), 1 + needs_second_run(job, program))
        for job in program.jobs
    ]
    if memory.threshold:
        return schedule(device, jobs, memory)
    return sum(
        sum(closed_form(device, segments, load, latency=memory.latency, runs=runs).values())
        for segments, load, runs in jobs
    )


def _divided(partial: Partial, cache: Cache) -> NDArray[np.float64]:
    return unit.divide(partial, cache.value_shift) / 2**cache.unit_bits


def _against_one(
    partials: list[Partial],
    queries: list[Query],
    caches: list[Cache],
    shards: int,
    widths: Widths,
) -> tuple[float, float]:
    """Largest difference to one device over its bound; largest bound over the largest output."""
    worst = largest = 0.0
    for partial, query, cache in zip(partials, queries, caches, strict=True):
        output = _divided(partial, cache)
        whole = _divided(attend_cache(query, cache, cache.value_shift, widths), cache)
        bound = unit.split_bound(partial, len(cache.keys), shards, cache.value_shift)
        bound = bound / 2**cache.unit_bits
        worst = max(worst, float((np.abs(output - whole) / bound).max()))
        largest = max(largest, float(bound.max() / np.abs(output).max()))
    return worst, largest


def float64_attention(query: Query, cache: Cache) -> NDArray[np.float64]:
    """Attention of the cache as it is stored, the query as it is sent."""
    keys, values = (
        part * scale[:, np.newaxis].astype(np.float64) / 2**cache.unit_bits
        for part, scale in (
            (cache.keys, cache.key_scales),
            (cache.values, cache.value_scales),
        )
    )
    scores = (query.integers / np.exp2(query.exponents)[:, np.newaxis]) @ keys.T
    weights = np.exp2(scores - scores.max(axis=1, keepdims=True))
    return weights @ values / weights.sum(axis=1, keepdims=True)


def _captured(
    layer: int, tokens: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Query of the last token, keys and values of all, after the rotation."""
    import torch

    from plait.models.llm import load_module
    from plait.models.llm.attention import rotate
    from plait.models.llm.texts import botchan

    module = load_module(_MODEL)
    if not 0 <= layer < len(module.layers):
        raise SpecError(
            "no such layer", where="layer", got=layer, expected=f"0 to {len(module.layers) - 1}"
        )
    ids = module.tokenizer(botchan()[: 16 * tokens])["input_ids"]
    if not 1 <= tokens <= len(ids):
        raise SpecError("the text is shorter", where="tokens", got=tokens, expected="1 or more")
    attention = module.layers[layer].self_attn
    seen: dict[str, Any] = {}
    hook = attention.register_forward_hook(
        lambda _, inputs, outputs: seen.update(inputs=inputs, outputs=outputs)
    )
    with torch.no_grad():
        module(torch.tensor([ids[:tokens]]))
        hidden, (cosines, sines) = seen["inputs"][:2]
        query = attention.q_proj(hidden[:, -1:]).view(1, 1, attention.heads, -1).transpose(1, 2)
        query = rotate(query, cosines[-1:], sines[-1:], attention.rotary_dim)
    hook.remove()
    _, keys, values = seen["outputs"]
    return query[0, :, 0].numpy(), keys[0].numpy(), values[0].numpy()
