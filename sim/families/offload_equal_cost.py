"""Offloading against plain devices that cost as much, for requests of one mean size.

A static estimate after arXiv 2405.01814, section 6: the largest batches that fit, at a context of
the prompt and half of what is generated, and the tokens a second of both. It knows no arrivals and
no spread of lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plait.errors import SpecError
from plait.sim.cost.link import ring_all_reduce_seconds
from plait.sim.cost.price import usd_per_hour
from plait.sim.families import offload_times as ideal
from plait.sim.families.offload_rotation import cycle

if TYPE_CHECKING:
    from plait.sim.spec.offload import Offload
    from plait.sim.spec.roofline import Roofline, TensorParallel

__all__ = ["EqualCost", "equal_cost"]


@dataclass(frozen=True, slots=True)
class EqualCost:
    """Both sides of the comparison.

    Attributes:
        batch, reference_batch: sequences in flight that fit, of offloading and of plain devices.
        tokens_per_s, reference_tokens_per_s: of these batches.
        usd_per_hour, reference_usd_per_hour: rent; None if a price is not stated.
    """

    batch: int
    reference_batch: int
    tokens_per_s: float
    reference_tokens_per_s: float
    usd_per_hour: float | None
    reference_usd_per_hour: float | None

    @property
    def batch_ratio(self) -> float:
        """Sequences in flight over those of the plain devices."""
        return self.batch / self.reference_batch

    @property
    def throughput_ratio(self) -> float:
        """Tokens a second over those of the plain devices."""
        return self.tokens_per_s / self.reference_tokens_per_s


def equal_cost(
    model: ideal.OffloadedModel,
    machine: Offload,
    reference: Roofline,
    *,
    prompt: float,
    generated: float,
    network: bool = True,
) -> EqualCost:
    """Compare a machine with ``reference.tensor_parallel.devices`` plain devices.

    Args:
        model: sizes, see `plait.sim.families.offload.model_of`.
        machine: its batches in flight share the memory pool; its efficiencies, link and host time
            count, so that ideal ones are a switch.
        reference: a roofline machine; its efficiencies and link count, and the machine's host time.
        prompt, generated: mean tokens of a request.
        network: whether the network takes time.

    >>> from plait.sim.spec import load_accelerator
    >>> llama = ideal.OffloadedModel(137.5e9 / 2, hidden=8192, layers=80, group=8)
    >>> lamina = load_accelerator("lamina-h100-h20").with_(
    ...     **{"compute.count": 2, "memory.count": 4, "pipelining.batches_in_flight": 2})
    >>> plain = load_accelerator("h100").with_(**{"tensor_parallel.devices": 4})
    >>> both = equal_cost(llama, lamina, plain, prompt=1154.7, generated=211.1)
    >>> both.batch, both.reference_batch
    (836, 364)
    """
    context = prompt + generated / 2
    request = ideal.kv_bytes_per_token(model) * context
    weights = model.weight_bytes * model.parameters
    devices = reference.tensor_parallel.devices
    share = machine.usable_memory
    batch = _fits(share * _capacity(machine.memory.device) * machine.memory.count / request)
    free = share * _capacity(reference) * devices - weights
    reference_batch = _fits(free / request)
    return EqualCost(
        batch=batch,
        reference_batch=reference_batch,
        tokens_per_s=_offloaded(model, machine, batch, context, network),
        reference_tokens_per_s=_plain(
            model, reference, reference_batch, context, machine.host_overhead_s
        ),
        usd_per_hour=usd_per_hour(
            [
                (machine.compute.device, machine.compute.count * machine.pipelining.replicas),
                (machine.memory.device, machine.memory.count),
            ]
        ),
        reference_usd_per_hour=usd_per_hour([(reference, devices)]),
    )


def _offloaded(
    model: ideal.OffloadedModel, machine: Offload, batch: int, context: float, network: bool
) -> float:
    """Tokens a second with the batch divided over those in flight, each rounded down."""
    n, e = machine.pipelining.batches_in_flight, machine.efficiency
    each = max(batch // n, 1)
    compute = _peak(machine.compute.device, machine.compute.count, e.compute, e.memory)
    memory = _peak(
        machine.memory.device, machine.memory.count, e.attention_compute, e.attention_memory
    )
    outside = float(ideal.non_attention_seconds(model, compute, each)) + machine.host_overhead_s
    outside += _all_reduces(model, each, machine.compute.count, machine.tensor_parallel)
    attention = float(ideal.attention_seconds(model, memory, each * context))
    between = 0.0
    if network:
        links = machine.compute.count if machine.network.links == "per_compute_device" else 1
        bandwidth = links * machine.network.bandwidth_bytes_per_s * e.network
        round_trip = machine.network.round_trip_s
        between = float(ideal.network_seconds(model, each, bandwidth, round_trip))
    return n * each / float(cycle(n, outside, attention, between))


def _plain(
    model: ideal.OffloadedModel, reference: Roofline, batch: int, context: float, host_s: float
) -> float:
    split, e = reference.tensor_parallel, reference.efficiency
    pool = _peak(reference, split.devices, e.compute, e.memory)
    attention = _peak(reference, split.devices, e.compute, e.attention_memory)
    step = float(ideal.non_attention_seconds(model, pool, batch)) + host_s
    step += float(ideal.attention_seconds(model, attention, batch * context))
    return batch / (step + _all_reduces(model, batch, split.devices, split))


def _all_reduces(
    model: ideal.OffloadedModel, batch: int, devices: int, link: TensorParallel | None
) -> float:
    """Two a layer, of the whole hidden state; none where no link is described."""
    if link is None:
        return 0.0
    size = model.activation_bytes * batch * model.hidden
    each = ring_all_reduce_seconds(size, devices, link.link_bytes_per_s, link.link_latency_s)
    return 2 * model.layers * float(each)


def _peak(device: Roofline, count: int, compute: float, memory: float) -> ideal.Peak:
    return ideal.Peak(
        count * device.compute.fp16_operations_per_s * compute,
        count * device.memory.bandwidth_bytes_per_s * memory,
    )


def _capacity(device: Roofline) -> float:
    if device.memory.capacity_bytes is None:
        raise SpecError("missing", where=f"{device.name}: memory.capacity_bytes")
    return device.memory.capacity_bytes


def _fits(requests: float) -> int:
    """Whole requests; a pool that holds none cannot serve."""
    if requests < 1:
        raise SpecError(
            "the devices cannot hold the weights and one request",
            where="memory",
            got=round(requests, 3),
            expected="1 request or more",
        )
    return math.floor(requests)
