"""Family roofline: a machine is a peak of arithmetic and a bandwidth, such as a GPU.

A kernel takes the longer of operations / peak and bytes / bandwidth. ``published`` counts kernels
as LLM-Viewer does, on the ideal roofline. ``closed_form`` counts ours and adds efficiencies, a
fixed launch time, the all-reduce of tensor parallelism and the decoding of weights. What a machine
computes and what it moves are separate arrays, so that many are costed at once (`totals`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plait.sim.cost.link import ring_all_reduce_seconds
from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.families.decode_units import decoding
from plait.sim.families.design import gather
from plait.sim.families.roofline_parts import Parts, closed_form_parts, published_parts

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.roofline import Roofline

__all__ = ["FIDELITIES", "Design", "rungs", "totals"]

Floats = NDArray[np.float64]

# design parameter -> key of the description
_KEYS = {
    "fp16_operations_per_s": "compute.fp16_operations_per_s",
    "int8_operations_per_s": "compute.int8_operations_per_s",
    "vector_operations_per_s": "compute.vector_operations_per_s",
    "bandwidth_bytes_per_s": "memory.bandwidth_bytes_per_s",
    "compute_efficiency": "efficiency.compute",
    "memory_efficiency": "efficiency.memory",
    "attention_memory_efficiency": "efficiency.attention_memory",
    "kernel_launch_s": "kernel_launch_s",
    "devices": "tensor_parallel.devices",
    "link_bytes_per_s": "tensor_parallel.link_bytes_per_s",
    "link_latency_s": "tensor_parallel.link_latency_s",
}


@dataclass(frozen=True, slots=True)
class Design:
    """Parameters of one machine, or of many at once: every array is [designs]."""

    fp16_operations_per_s: Floats
    int8_operations_per_s: Floats
    vector_operations_per_s: Floats
    bandwidth_bytes_per_s: Floats
    compute_efficiency: Floats
    memory_efficiency: Floats
    attention_memory_efficiency: Floats
    kernel_launch_s: Floats
    devices: Floats
    link_bytes_per_s: Floats
    link_latency_s: Floats

    @classmethod
    def of(cls, machine: Roofline, **varied: ArrayLike) -> Design:
        """Take a machine's parameters, some replaced by arrays of one length.

        Args:
            varied: values by dotted key of the description; the caller has checked their bounds.
        """
        values = gather(machine, _KEYS, varied)
        slow = np.isnan(values["int8_operations_per_s"])  # no faster 8-bit units
        values["int8_operations_per_s"] = np.where(
            slow, values["fp16_operations_per_s"], values["int8_operations_per_s"]
        )
        unknown = np.isnan(values["vector_operations_per_s"])  # what is not described costs nothing
        values["vector_operations_per_s"] = np.where(
            unknown, np.inf, values["vector_operations_per_s"]
        )
        return cls(**values)


def rungs(parts: Parts, design: Design) -> dict[str, Floats]:
    """Time kernels on many designs: compute, memory_stall, decode, launch, all_reduce.

    Weights are decoded beside the other two, in vector units or in units of their own; ``decode``
    is what that takes longer, and what is waited for before.

    Returns:
        Seconds by cause, [kernels, designs], times the repeat count.
    """
    share = np.where(parts.is_split[:, None], 1 / design.devices, 1.0)
    peak = np.where(
        parts.fits_int8[:, None], design.int8_operations_per_s, design.fp16_operations_per_s
    )
    reached = np.where(
        parts.is_attention[:, None], design.attention_memory_efficiency, design.memory_efficiency
    )
    bandwidth = design.bandwidth_bytes_per_s * reached
    compute = parts.operations[:, None] * share / (peak * design.compute_efficiency)
    unit = parts.unit_seconds[:, None] * share
    compute = np.where(parts.on_trees[:, None], unit, compute)
    memory = parts.bytes[:, None] * share / bandwidth
    reduced = ring_all_reduce_seconds(
        parts.reduced_bytes[:, None],
        design.devices,
        design.link_bytes_per_s,
        design.link_latency_s,
    )
    vector_peak = design.vector_operations_per_s * design.compute_efficiency
    decode = np.maximum(unit, parts.vector_operations[:, None] * share / vector_peak)
    decode = np.maximum(decode - np.maximum(compute, memory), 0.0)
    decode = decode + parts.waiting_seconds[:, None]
    reduces = (parts.reduced_bytes > 0)[:, None]
    count = parts.count[:, None]
    does_something = (parts.operations + parts.bytes > 0)[:, None]  # experts may be unvisited
    return {
        "compute": compute * count,
        "memory_stall": np.maximum(memory - compute, 0.0) * count,
        "decode": decode * count,
        "launch": design.kernel_launch_s * count * does_something,
        "all_reduce": np.where(reduces, reduced, 0.0) * count,
    }


def totals(parts: Parts, design: Design) -> dict[str, Floats]:
    """Cost a step on many designs at once: seconds and bytes, each [designs]."""
    seconds = np.sum([v.sum(axis=0) for v in rungs(parts, design).values()], axis=0)
    moved = (parts.bytes * parts.count).sum()
    return {"seconds": seconds, "bytes": np.broadcast_to(moved, seconds.shape)}


def _closed_form(workload: Workload, machine: Roofline) -> Breakdown:
    decoded = decoding(workload, machine, has_software=True)
    parts = closed_form_parts(workload, machine, decoded)
    design = Design.of(machine)
    by_kernel = rungs(parts, design)
    if machine.tensor_parallel.devices == 1:
        del by_kernel["all_reduce"]
    if machine.kernel_launch_s == 0:
        del by_kernel["launch"]
    if not by_kernel["decode"].any():
        del by_kernel["decode"]
    totals = {"memory_bytes": weight_and_kv_bytes(workload)}
    totals |= decoded.totals(workload, machine.decode_units)
    return _breakdown(workload, machine, parts, by_kernel, totals)


def _published(workload: Workload, machine: Roofline) -> Breakdown:
    parts = published_parts(workload, machine)
    ideal = Design.of(
        machine,
        **{"efficiency.compute": 1, "efficiency.memory": 1, "efficiency.attention_memory": 1},
        **{"kernel_launch_s": 0, "tensor_parallel.devices": 1},
    )
    by_kernel = rungs(parts, ideal)
    del by_kernel["launch"], by_kernel["all_reduce"], by_kernel["decode"]
    totals = {"memory_bytes": _published_memory_bytes(workload, parts)}
    return _breakdown(workload, machine, parts, by_kernel, totals)


def _published_memory_bytes(workload: Workload, parts: Parts) -> float:
    """Activations out of one layer, weights of all layers, KV of the context; no lm_head."""
    c = workload.columns
    in_layers = ~c["is_output"].astype(bool)[parts.row]
    per_layer = parts.output_bytes[in_layers].sum()
    weights = (parts.weight_bytes * parts.count)[in_layers].sum()
    cached = c["count"] * c["kv_cout"] * c["kv_bits"] / 8 * float(workload.batch) * workload.context
    return float(per_layer + weights + cached.sum())


def _breakdown(
    workload: Workload,
    machine: Roofline,
    parts: Parts,
    by_kernel: Mapping[str, Floats],
    totals: Mapping[str, float],
) -> Breakdown:
    rows = len(workload)

    def by_row(values: Floats) -> Floats:
        return np.bincount(parts.row, weights=values, minlength=rows).astype(np.float64)

    per_row = {name: by_row(values[:, 0]) for name, values in by_kernel.items()}
    columns: dict[str, Any] = {
        "operations": by_row(parts.operations * parts.count),
        "weight_bytes": by_row(parts.weight_bytes * parts.count),
        "activation_bytes": by_row((parts.input_bytes + parts.output_bytes) * parts.count),
        "kv_bytes": by_row(parts.kv_bytes * parts.count),
    }
    if machine.power_w:
        devices = machine.tensor_parallel.devices
        columns["board_pj"] = sum(per_row.values()) * machine.power_w * devices * 1e12
    return Breakdown(
        unit="seconds",
        rungs=per_row,
        bound=_bound(per_row),
        columns=columns,
        totals=totals,
        roofs=_roofs(parts, machine),
    )


def _bound(per_row: Mapping[str, Floats]) -> NDArray[np.object_]:
    """What takes most of the op's time beyond nothing: arithmetic or memory."""
    memory = per_row["memory_stall"] > 0
    takes_time = sum(per_row.values()) > 0
    return np.where(takes_time, np.where(memory, "memory", "compute"), "").astype(object)


def _roofs(parts: Parts, machine: Roofline) -> tuple[tuple[str, float, float], ...]:
    """One roof for each peak the kernels use."""
    compute, bandwidth = machine.compute, machine.memory.bandwidth_bytes_per_s
    peaks = {"fp16": compute.fp16_operations_per_s, "int8": compute.int8_operations_per_s}
    fast = bool(parts.fits_int8[parts.is_split].any()) and peaks["int8"] is not None
    slow = not fast or not bool(parts.fits_int8[parts.is_split].all())
    used = [name for name, is_used in (("fp16", slow), ("int8", fast)) if is_used]
    return tuple((f"{machine.name} {name}", float(peaks[name] or 0), bandwidth) for name in used)


FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": _published,
    "closed_form": _closed_form,
}
