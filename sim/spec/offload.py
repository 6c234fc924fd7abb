"""Schema of the offload family: attention on memory devices, everything else on compute devices.

Source: "Efficient and Economic LLM Inference with Attention Offloading" (arXiv 2405.01814), v2,
whose system is Lamina; its degree of parallelism (a, b) is compute.count and memory.count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from plait.errors import SpecError
from plait.sim.spec.base import Accelerator, Integer, Number, Section
from plait.sim.spec.decode_units import DecodeUnits
from plait.sim.spec.load import load_accelerator
from plait.sim.spec.roofline import Roofline, TensorParallel

__all__ = ["AttentionUnit", "Offload", "OffloadEfficiency", "OffloadNetwork", "Pipelining", "Pool"]


def _known_device(device: str | Roofline) -> str | Roofline:
    """Refuse a name that is no machine of the roofline family."""
    try:
        found = load_accelerator(device)
    except SpecError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, Roofline):
        raise ValueError(f"{found.name} is of family {found.family}, expected family roofline")
    return device


Device = Annotated[str | Roofline, AfterValidator(_known_device)]


class Pool(Section):
    """Equal devices that share one part of the work."""

    machine: Device = Field(
        description="One device: the name or file of a roofline machine, or its description"
    )
    count: Integer = Field(1, ge=1, le=4096, description="Devices in the pool")

    @property
    def device(self) -> Roofline:
        """The description of one device."""
        device = load_accelerator(self.machine)
        assert isinstance(device, Roofline)
        return device


class OffloadNetwork(Section):
    """What connects the two pools."""

    bandwidth_bytes_per_s: Number = Field(gt=0, le=1e18, description="Of one link, one direction")
    round_trip_s: Number = Field(
        0.0, ge=0, le=10, description="There and back, without the bytes; paid once a layer"
    )
    links: Literal["one", "per_compute_device"] = Field(
        "one", description="per_compute_device: each of these devices has a link of its own"
    )


class OffloadEfficiency(Section):
    """Reached shares of the peaks, beside the devices' own; closed_form and timeline only."""

    compute: Number = Field(1.0, gt=0, le=1, description="Arithmetic of the compute devices")
    memory: Number = Field(1.0, gt=0, le=1, description="Bandwidth of the compute devices")
    attention_compute: Number = Field(1.0, gt=0, le=1, description="Arithmetic of memory devices")
    attention_memory: Number = Field(1.0, gt=0, le=1, description="Bandwidth of memory devices")
    network: Number = Field(1.0, gt=0, le=1, description="Bandwidth of the network")


class Pipelining(Section):
    """Rotational staggered pipelining (arXiv 2405.01814, section 4.3)."""

    batches_in_flight: Integer = Field(
        1, ge=1, le=64, description="n batches share the memory pool; n > 2 needs n - 1 replicas"
    )

    @property
    def replicas(self) -> int:
        """Copies of the compute pool, each with all weights."""
        return max(self.batches_in_flight - 1, 1)


class AttentionUnit(Section):
    """The unit of a memory device that computes attention; what Verilog is generated of."""

    query_heads: Integer = Field(4, ge=1, le=32, description="Of one KV head, at once")
    head_size: Integer = Field(64, ge=1, le=512, description="Values of a key")
    lanes: Integer = Field(16, ge=1, le=512, description="Products a cycle of each query head")
    port_bits: Integer = Field(512, ge=256, le=4096, description="Of the memory port, a cycle")
    max_segments: Integer = Field(64, ge=1, le=4096, description="Ranges of tokens of a mask")
    score_fraction_bits: Integer = Field(12, ge=1, le=30, description="Of a base-2 score")
    score_bits: Integer = Field(24, ge=3, le=46, description="Of a score in all")
    table_bits: Integer = Field(6, ge=1, le=16, description="Pieces of 2^x, base-2 logarithm")
    probability_bits: Integer = Field(18, ge=2, le=30, description="Fraction of an entry of 2^x")
    guard_bits: Integer = Field(13, ge=0, le=30, description="That sums have beyond them")
    context_bits: Integer = Field(15, ge=1, le=24, description="Tokens a device, base-2 logarithm")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.port_bits & (self.port_bits - 1):
            raise ValueError(f"port_bits must be a power of two, got {self.port_bits}")
        return self


class Offload(Accelerator):
    """A machine of the offload family."""

    family: Literal["offload"] = Field(description="Always offload")
    compute: Pool = Field(description="Devices with the weights: everything but attention")
    memory: Pool = Field(description="Devices with the KV cache: attention")
    network: OffloadNetwork = Field(description="Between the pools")
    efficiency: OffloadEfficiency = Field(OffloadEfficiency(), description="Reached shares")
    tensor_parallel: TensorParallel | None = Field(
        None,
        description="Link of the compute devices, for two all-reduces a layer; devices is ignored "
        "(compute.count says it); none: they cost nothing. Not in published",
    )
    host_overhead_s: Number = Field(
        0.0, ge=0, le=10, description="Fixed time of a step on the host; not in published"
    )
    overlap: bool = Field(
        False,
        strict=True,
        description="Send q first: attention over earlier tokens runs beside the projection of k "
        "and v; not in published",
    )
    partition: Literal["head", "request", "token"] = Field(
        "head", description="What the memory devices divide among them"
    )
    pipelining: Pipelining = Field(Pipelining(), description="Batches in flight")
    slowdown_allowance: Number = Field(
        0.2, gt=0, le=100, description="Network time over the rest, for the bandwidth required"
    )
    usable_memory: Number = Field(
        0.9, gt=0, le=1, description="Share of a device's memory for weights or KV"
    )
    attention_unit: AttentionUnit | None = Field(
        None, description="Of a memory device, for its Verilog; no cost model reads it"
    )
    published_weight_bytes: Mapping[str, Number] = Field(
        {}, description="FP16 weights by model as the paper states them, bytes; published only"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        for model, size in self.published_weight_bytes.items():
            if not 0 < size <= 1e18:
                raise ValueError(f"published_weight_bytes of {model} is out of range, got {size:g}")
        if self.decode_units != DecodeUnits():
            raise ValueError("decode_units belong to a device: compute.machine.decode_units")
        return self
