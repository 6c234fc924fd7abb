"""Family offload: attention on memory devices, everything else on compute devices, in decode.

Source: arXiv 2405.01814 (Lamina). ``published`` is its closed form, ideal, with the weights' bytes
that it states. ``closed_form`` costs every op of the workload on its pool (as family roofline
does), with efficiencies, all-reduces, host time, overlap and any division of attention.
``timeline`` plays the pipeline of batches event by event instead of using its formula.

A step gives one token to every sequence of one batch. With n batches in flight its time is the time
between two tokens of a sequence, of which ``wait`` is spent on other batches' work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plait.errors import SpecError
from plait.sim.cost.price import tokens_per_usd, usd_per_hour
from plait.sim.families import offload_partition, roofline
from plait.sim.families import offload_rotation as rotation
from plait.sim.families import offload_times as ideal
from plait.sim.families.breakdown import Breakdown, weight_and_kv_bytes
from plait.sim.families.roofline_parts import Parts, closed_form_parts

if TYPE_CHECKING:
    from plait.models.graph.workload import Workload
    from plait.sim.spec.offload import Offload
    from plait.sim.spec.roofline import Roofline

__all__ = ["FIDELITIES", "model_of"]

Floats = NDArray[np.float64]
_PUBLISHED_WEIGHT_BYTES = 2  # the paper's models are in FP16
_LARGEST_BUFFER = 1e15  # of a memory device: queries of one token always fit
_TIMELINE_TOKENS = 4  # enough for the steady state; more change nothing (tested)


@dataclass(frozen=True, slots=True)
class _Step:
    """One batch's step before batches are interleaved; every array is [ops], in seconds.

    Attributes:
        rungs: of every op as if nothing ran beside it; ``network`` is on the attention ops.
        hidden: what of these runs beside other work, by rung.
        non_attention_s, attention_s, network_s: whole step.
        network_bytes: whole step.
    """

    rungs: Mapping[str, Floats]
    hidden: Mapping[str, Floats]
    non_attention_s: float
    attention_s: float
    network_s: float
    network_bytes: float

    @property
    def hidden_s(self) -> float:
        """All that is hidden."""
        return _total(self.hidden)


def model_of(workload: Workload, machine: Offload) -> ideal.OffloadedModel:
    """Give the sizes of the closed form; N comes from the paper's bytes where it states them."""
    c = workload.columns
    rows = _attention_rows(workload)
    count, head_dim = (c[name][rows].astype(float) for name in ("count", "head_dim"))
    queries = float((count * c["heads"][rows] * head_dim).sum())
    keys = float((count * c["kv_heads"][rows] * head_dim).sum())
    linears = np.flatnonzero(np.isin(c["kind"], ("linear", "experts")))
    weight_bits = _only_value(workload, "weight_bits", linears)
    stated = machine.published_weight_bytes.get(workload.model)
    parameters = float((c["count"] * c["parameters"]).sum())
    return ideal.OffloadedModel(
        parameters=stated / _PUBLISHED_WEIGHT_BYTES if stated else parameters,
        hidden=round(queries / count.sum()),
        layers=int(count.sum()),
        group=queries / keys,
        weight_bytes=weight_bits / 8,
        activation_bytes=_only_value(workload, "activation_bits", rows) / 8,
        kv_bytes=_only_value(workload, "kv_bits", rows) / 8,
    )


def _published(workload: Workload, machine: Offload) -> Breakdown:
    _check(workload, machine)
    model, c = model_of(workload, machine), workload.columns
    pools = [_peak(pool.device, pool.count) for pool in (machine.compute, machine.memory)]
    rows = _attention_rows(workload)
    context = float(np.average(c["keys"][rows].astype(float), weights=c["count"][rows]))
    batch = workload.batch
    non_attention = float(ideal.non_attention_seconds(model, pools[0], batch))
    attention = float(
        ideal.attention_seconds(model, pools[1], batch * context, _imbalance(workload, machine))
    )
    moved = float(ideal.network_bytes(model, batch))
    bandwidth, round_trip = _link(machine), machine.network.round_trip_s
    network = float(ideal.network_seconds(model, batch, bandwidth, round_trip))
    macs = c["count"] * c["tokens"] * c["cin"] * c["cout"] * c["experts_touched"]
    scores = _zeros(workload)
    scores[rows] = (c["count"] * c["heads"] * c["head_dim"])[rows] * c["keys"][rows].astype(float)
    compute = _share(macs) * 2 * model.parameters * batch / pools[0].operations_per_s
    compute += 4 * batch * scores / pools[1].operations_per_s
    whole = _share(macs) * non_attention + _share(scores) * attention
    step = _Step(
        rungs={
            "compute": np.minimum(compute, whole),
            "memory_stall": np.maximum(whole - compute, 0.0),
            "network": _share(scores) * network,
        },
        hidden={},
        non_attention_s=non_attention,
        attention_s=attention,
        network_s=network,
        network_bytes=moved,
    )
    kv = np.zeros(len(workload))
    kv[rows] = (c["count"] * c["kv_heads"] * c["head_dim"] * c["keys"])[rows]
    columns = {
        "operations": 2 * macs.astype(float) + 4.0 * batch * scores,
        "weight_bytes": _share(macs) * model.weight_bytes * model.parameters,
        "activation_bytes": _share(macs) * 2 * model.activation_bytes * batch * model.hidden,
        "kv_bytes": 2 * model.kv_bytes * batch * kv,
    }
    return _breakdown(workload, machine, step, columns, _by_formula)


def _closed_form(workload: Workload, machine: Offload) -> Breakdown:
    step, columns = _step(workload, machine)
    return _breakdown(workload, machine, step, columns, _by_formula)


def _timeline(workload: Workload, machine: Offload) -> Breakdown:
    step, columns = _step(workload, machine)
    return _breakdown(workload, machine, step, columns, _by_events)


def _by_formula(batches: int, layers: int, model: float, attention: float, rest: float) -> float:
    """Seconds of a step with ``batches`` in flight; ``rest`` is network time not hidden.

    Exact fractions here and among the events: then both agree to the last bit.
    """
    times = (Fraction(time) for time in (model, attention, rest))
    return float(layers * rotation.cycle(batches, *times))


def _by_events(batches: int, layers: int, model: float, attention: float, rest: float) -> float:
    network, early = max(Fraction(rest), Fraction(0)), max(-Fraction(rest), Fraction(0))
    played = rotation.rotate(
        batches,
        Fraction(model),
        Fraction(attention),
        network,
        early=early,
        layers=layers,
        tokens=_TIMELINE_TOKENS,
    )
    return float(played.time_between_tokens)


# --- every op on its pool ----------------------------------------------------------------------


def _step(workload: Workload, machine: Offload) -> tuple[_Step, dict[str, Floats]]:
    _check(workload, machine)
    e = machine.efficiency
    compute_parts, on_compute = _on_pool(
        workload,
        machine.compute.device,
        {"efficiency.compute": e.compute, "efficiency.memory": e.memory},
        _compute_link(machine),
        is_attention=False,
    )
    memory_parts, on_memory = _on_pool(
        workload,
        machine.memory.device.with_(
            **{"attention": "fused", "memory.buffer_bytes": _LARGEST_BUFFER}
        ),
        {
            "efficiency.compute": e.attention_compute,
            "efficiency.attention_memory": e.attention_memory,
        },
        {"tensor_parallel.devices": machine.memory.count},
        is_attention=True,
    )
    uneven = _imbalance(workload, machine)
    rungs = {name: on_compute[name] + uneven * on_memory[name] for name in on_compute}
    rungs["host"] = _zeros(workload)
    rungs["host"][-1] = machine.host_overhead_s
    messages = _Messages(workload, machine)
    rungs["network"] = messages.send_q_s + messages.send_kv_s + messages.back_s
    rungs = {name: values for name, values in rungs.items() if values.any()}
    step = _Step(
        rungs=rungs,
        hidden=_hidden(workload, rungs, messages) if machine.overlap else {},
        non_attention_s=_total(on_compute) + machine.host_overhead_s,
        attention_s=uneven * _total(on_memory),
        network_s=float(rungs["network"].sum()),
        network_bytes=float(messages.moved_bytes.sum()),
    )
    parts = Parts.join([compute_parts, memory_parts])
    columns = {
        "operations": parts.operations,
        "weight_bytes": parts.weight_bytes,
        "activation_bytes": parts.input_bytes + parts.output_bytes,
        "kv_bytes": parts.kv_bytes,
    }
    return step, {n: _by_row(v * parts.count, parts, workload) for n, v in columns.items()}


def _on_pool(
    workload: Workload,
    device: Roofline,
    efficiency: Mapping[str, float],
    split: Mapping[str, float],
    is_attention: bool,
) -> tuple[Parts, dict[str, Floats]]:
    """Kernels of one pool, and seconds by cause [ops]; efficiencies multiply the device's own."""
    parts = closed_form_parts(workload, device).where(is_attention)
    reached = {
        key: value * getattr(device.efficiency, key[11:]) for key, value in efficiency.items()
    }
    design = roofline.Design.of(device, **reached, **split)
    by_kernel = roofline.rungs(parts, design)
    return parts, {name: _by_row(v[:, 0], parts, workload) for name, v in by_kernel.items()}


def _compute_link(machine: Offload) -> dict[str, float]:
    link = machine.tensor_parallel
    return {
        "tensor_parallel.devices": machine.compute.count,
        "tensor_parallel.link_bytes_per_s": link.link_bytes_per_s if link else np.inf,
        "tensor_parallel.link_latency_s": link.link_latency_s if link else 0.0,
    }


class _Messages:
    """What travels for each op: all attention ops, arrays [ops], times the repeat count.

    The two ways share the round trip: half with q, half with the output.
    """

    def __init__(self, workload: Workload, machine: Offload) -> None:
        c = workload.columns
        is_attention = c["kind"] == "attention"
        count = c["count"] * is_attention
        queries = workload.batch * workload.query * count
        width = c["heads"] * c["head_dim"] * 1.0
        shards = machine.memory.count if machine.partition == "token" else 1
        back = width + 0.0
        if shards > 1:  # every shard needs all of q and returns its part of every head
            back = shards * offload_partition.combine_values(width, c["heads"])
        q_bytes = queries * shards * width * c["activation_bits"] / 8
        kv_bytes = queries * 2 * c["kv_heads"] * c["head_dim"] * c["kv_bits"] / 8
        back_bytes = queries * back * c["activation_bits"] / 8
        bandwidth = _link(machine) * machine.efficiency.network
        half = machine.network.round_trip_s / 2 * count
        self.send_q_s: Floats = half + q_bytes / bandwidth
        self.send_kv_s: Floats = kv_bytes / bandwidth
        self.back_s: Floats = half + back_bytes / bandwidth
        self.moved_bytes: Floats = q_bytes + kv_bytes + back_bytes


def _hidden(
    workload: Workload, rungs: Mapping[str, Floats], messages: _Messages
) -> dict[str, Floats]:
    """What overlap takes off: the shorter of two chains, layers taken as alike.

    One chain sends q and attends over the earlier tokens; the other projects k and v and sends
    them. The new token is attended to when both have ended.
    """
    c = workload.columns
    is_attention = c["kind"] == "attention"
    earlier = is_attention * np.maximum(c["keys"] - 1, 0) / np.maximum(c["keys"], 1)
    projection = c["kv_cout"] / np.maximum(c["cout"], 1)
    on_devices = [name for name in rungs if name not in ("network", "host")]
    attending = {name: rungs[name] * earlier for name in on_devices} | {
        "network": messages.send_q_s
    }
    projecting = {name: rungs[name] * projection for name in on_devices}
    projecting |= {"network": messages.send_kv_s}
    return min(attending, projecting, key=_total)


# --- common --------------------------------------------------------------------------------------


def _breakdown(
    workload: Workload,
    machine: Offload,
    step: _Step,
    columns: dict[str, Any],
    interleave: Callable[[int, int, float, float, float], float],
) -> Breakdown:
    c, n = workload.columns, machine.pipelining.batches_in_flight
    rows = _attention_rows(workload)
    layers = int(c["count"][rows].sum())
    rest = step.network_s - step.hidden_s
    seconds = interleave(
        n, layers, step.non_attention_s / layers, step.attention_s / layers, rest / layers
    )
    rungs = {
        name: np.maximum(values - step.hidden.get(name, 0.0), 0.0)
        for name, values in step.rungs.items()
    }
    if n > 1:
        share = np.where(c["kind"] == "attention", c["count"], 0)
        rungs["wait"] = _share(share) * max(seconds - _total(rungs), 0.0)
    time = np.sum(list(rungs.values()), axis=0)
    bound = np.where(rungs.get("memory_stall", _zeros(workload)) > 0, "memory", "compute")
    travels = rungs["network"] > time / 2
    bound = np.where(travels, "network", bound)
    power = _power_w(machine)
    if power is not None:
        columns["board_pj"] = time * power / n * 1e12
    return Breakdown(
        unit="seconds",
        rungs=rungs,
        bound=np.where(time > 0, bound, "").astype(object),
        columns=columns,
        totals=_totals(workload, machine, step, float(time.sum())),
        roofs=tuple(
            (f"{name}: {pool.count} x {pool.device.name}", peak.operations_per_s, peak.bytes_per_s)
            for name, pool in (("compute", machine.compute), ("memory", machine.memory))
            for peak in [_peak(pool.device, pool.count)]
        ),
    )


def _totals(workload: Workload, machine: Offload, step: _Step, seconds: float) -> dict[str, float]:
    n, c = machine.pipelining.batches_in_flight, workload.columns
    rows = _attention_rows(workload)
    values = (2 * c["count"] * c["kv_heads"] * c["head_dim"] * c["kv_bits"] / 8)[rows]
    memory_bytes = weight_and_kv_bytes(workload)
    cached = float((workload.batch * values * c["cached"][rows]).sum())
    busy = step.non_attention_s + step.attention_s
    tokens_per_s = n * workload.batch / seconds
    totals = {
        "non_attention_seconds": step.non_attention_s,
        "attention_seconds": step.attention_s,
        "network_seconds": step.network_s,
        "network_bytes": step.network_bytes,
        "required_bandwidth_bytes_per_s": float(
            ideal.required_bandwidth_bytes_per_s(
                step.network_bytes, busy, machine.slowdown_allowance
            )
        ),
        "kv_bytes_per_token": float(values.sum()),
        "memory_bytes": memory_bytes,
        "tokens_per_s": tokens_per_s,
    }
    if machine.overlap and step.hidden:
        totals["hidden_seconds"] = step.hidden_s
    if machine.pipelining.replicas > 1:  # activations follow their batch to the next replica
        width = c["heads"][rows] * c["head_dim"][rows] * c["activation_bits"][rows] / 8
        totals["migration_bytes"] = float((workload.batch * width * c["count"][rows]).sum())
    for name, pool, stored in (
        ("compute", machine.compute, memory_bytes - cached),
        ("memory", machine.memory, n * cached),
    ):
        if pool.device.memory.capacity_bytes:
            usable = pool.count * pool.device.memory.capacity_bytes * machine.usable_memory
            totals[f"{name}_pool_used"] = stored / usable
    price = usd_per_hour(_devices(machine))
    if price is not None:
        totals["price_usd_per_hour"] = price
        totals["tokens_per_usd"] = tokens_per_usd(tokens_per_s, price)
    return totals


def _check(workload: Workload, machine: Offload) -> None:
    if workload.phase != "decode":
        raise SpecError(
            "attention is offloaded in decode only",
            where=f"{machine.name}: phase",
            got=workload.phase,
            hint=f"simulate prefill on {machine.compute.device.name}",
        )
    if not len(_attention_rows(workload)):
        raise SpecError("no attention to offload", where=workload.model)


def _imbalance(workload: Workload, machine: Offload) -> float:
    """Load of the fullest memory device over the mean; all sequences have the same context."""
    devices, lengths = machine.memory.count, [workload.context] * workload.batch
    if machine.partition == "head":
        for kv_heads in np.unique(workload.columns["kv_heads"][_attention_rows(workload)]):
            offload_partition.head_level([1], devices, int(kv_heads))  # refuses what does not fit
        return 1.0
    if machine.partition == "request":
        return offload_partition.imbalance(offload_partition.round_robin(lengths, devices))
    return offload_partition.imbalance(offload_partition.token_level(lengths[:1], devices))


def _attention_rows(workload: Workload) -> NDArray[np.intp]:
    return np.flatnonzero(workload.columns["kind"] == "attention")


def _only_value(workload: Workload, column: str, rows: NDArray[np.intp]) -> float:
    """Mean over the rows, by the numbers that they hold; equal in all but mixed formats."""
    c = workload.columns
    weights = (c["count"] * np.maximum(c["cin"] * c["cout"] * 1.0, 1.0))[rows]
    values = c[column][rows].astype(float)
    if len(set(values)) == 1:
        return float(values[0])
    return float(np.average(values, weights=weights))


def _peak(device: Roofline, count: int) -> ideal.Peak:
    peak, bandwidth = device.compute.fp16_operations_per_s, device.memory.bandwidth_bytes_per_s
    return ideal.Peak(count * peak, count * bandwidth)


def _link(machine: Offload) -> float:
    links = machine.compute.count if machine.network.links == "per_compute_device" else 1
    return links * machine.network.bandwidth_bytes_per_s


def _devices(machine: Offload) -> list[tuple[Roofline, int]]:
    replicated = machine.compute.count * machine.pipelining.replicas
    return [(machine.compute.device, replicated), (machine.memory.device, machine.memory.count)]


def _power_w(machine: Offload) -> float | None:
    powers = [(device.power_w, count) for device, count in _devices(machine)]
    if any(power is None for power, _ in powers):
        return None
    return sum(power * count for power, count in powers if power is not None)


def _total(by_cause: Mapping[str, Floats]) -> float:
    return float(sum(values.sum() for values in by_cause.values()))


def _zeros(workload: Workload) -> Floats:
    return np.zeros(len(workload))


def _share(values: NDArray[Any]) -> Floats:
    return values / values.sum()


def _by_row(values: Floats, parts: Parts, workload: Workload) -> Floats:
    return np.bincount(parts.row, weights=values, minlength=len(workload)).astype(np.float64)


FIDELITIES: Mapping[str, Callable[[Workload, Any], Breakdown]] = {
    "published": _published,
    "closed_form": _closed_form,
    "timeline": _timeline,
}
