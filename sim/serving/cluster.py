"""Schema of a cluster: devices, a model, a policy, a network, limits, failures.

Every mistake is one line with the file, the line and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from plait.errors import SpecError, unknown_name
from plait.sim.spec.base import Accelerator, Integer, Number, Section
from plait.sim.spec.complaint import first_complaint
from plait.sim.spec.load import load_accelerator
from plait.sim.spec.offload import Pipelining
from plait.sim.spec.yaml_file import Document, read_yaml

__all__ = ["Batching", "Cluster", "Devices", "Failure", "Limits", "Network", "load_cluster"]

_LARGEST_S = 1e9


class Devices(Section):
    """Equal devices with one role."""

    machine: str = Field(description="A machine's name or the path of its YAML file")
    count: Integer = Field(1, ge=1, le=4096, description="Devices in all")
    role: Literal["mixed", "compute", "memory", "prompt", "decode"] | None = Field(
        None,
        description="attention_offload: compute or memory; prompt_decode_split: prompt, decode or "
        "mixed; the other policies need none",
    )
    tensor_parallel: Integer | None = Field(
        None, ge=1, le=4096, description="Devices of one instance; by default all"
    )
    memory_bytes: Number | None = Field(
        None, gt=0, le=1e18, description="Of one device; by default the machine's own"
    )
    set: Mapping[str, Any] = Field({}, description="Changes to the machine, by dotted key")

    @property
    def device(self) -> Accelerator:
        """The description of one device."""
        machine = load_accelerator(self.machine)
        return machine.with_(**self.set) if self.set else machine


class Network(Section):
    """What connects pools and instances."""

    bandwidth_bytes_per_s: Number = Field(gt=0, le=1e18, description="Of one link, one direction")
    round_trip_s: Number = Field(0.0, ge=0, le=10, description="There and back, without the bytes")
    links: Literal["one", "per_compute_device"] = Field(
        "per_compute_device", description="attention_offload: who has a link of its own"
    )


class Limits(Section):
    """What a request may take to count as good."""

    time_to_first_token_s: Number | None = Field(None, gt=0, le=_LARGEST_S, description="At most")
    time_between_tokens_s: Number | None = Field(
        None, gt=0, le=_LARGEST_S, description="At most, in the mean of the request"
    )


class Failure(Section):
    """A device that is lost with all that is in its memory."""

    device: str = Field(description="A machine's name and a number from 0, such as h20/1")
    at_s: Number = Field(ge=0, le=_LARGEST_S, description="When, on the clock of the arrivals")
    for_s: Number | None = Field(None, gt=0, le=_LARGEST_S, description="For how long; or for good")


class Batching(Section):
    """Limits of what an instance does at once."""

    requests: Integer = Field(4096, ge=1, le=65536, description="That run at once in an instance")
    prompt_tokens: Integer = Field(
        8192, ge=1, le=1 << 24, description="Of the prompts in one iteration; a longer one is alone"
    )
    chunk_tokens: Integer = Field(
        512, ge=1, le=1 << 24, description="chunked_prefill: tokens of one iteration"
    )
    block_tokens: Integer = Field(16, ge=1, le=65536, description="Of a block of the KV cache")
    reserve: Number = Field(
        0.01, ge=0, lt=1, description="Share of the blocks that admission leaves for growth"
    )


class Cluster(Section):
    """Devices that serve one model."""

    model: str = Field(description="A model's name, or a .pt2 file")
    formats: Any = Field(None, description="Number formats, such as w16a16kv16")
    policy: str = Field(description="How requests are scheduled")
    devices: tuple[Devices, ...] = Field(min_length=1, max_length=64, description="All devices")
    network: Network | None = Field(None, description="Between pools and instances")
    limits: Limits = Field(Limits(), description="Of a good request")
    failures: tuple[Failure, ...] = Field((), max_length=4096, description="Lost devices")
    batching: Batching = Field(Batching(), description="Limits of an instance")
    usable_memory: Number = Field(0.9, gt=0, le=1, description="Share for weights and KV")
    step_times: str | None = Field(
        None, description="A CSV of measured times (phase, batch, context, seconds) to use instead"
    )
    prefill: Literal["local", "remote"] = Field(
        "local", description="remote: prompts are computed elsewhere and arrive with their KV"
    )
    pipelining: Pipelining = Field(
        Pipelining(batches_in_flight=2), description="attention_offload: batches in flight"
    )
    partition: Literal["head", "request", "token"] = Field(
        "head", description="attention_offload: what the memory devices divide"
    )
    overlap: bool = Field(True, strict=True, description="attention_offload: send q first")
    host_overhead_s: Number = Field(0.0, ge=0, le=10, description="Fixed time of every step")

    _document: Document | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        from plait.sim.serving.scheduler import policy_names

        if self.policy not in policy_names():
            raise ValueError(unknown_name("policy", self.policy, policy_names()))
        return self

    def refuse(self, key: str, what: str, **more: Any) -> SpecError:
        """Make the error for a key of this description."""
        if self._document is None:
            return SpecError(what, where=f"cluster: {key}", **more)
        first = f"{key}.machine" if key.endswith("]") else key  # an entry stands where it begins
        return SpecError(what, where=f"{self._document.place(first)}: {key}", **more)

    def device_of(self, index: int) -> Accelerator:
        """The machine of one entry of ``devices``."""
        try:
            return self.devices[index].device
        except SpecError as error:
            raise self.refuse(f"devices[{index}].machine", str(error)) from None


def load_cluster(source: str | Path | Mapping[str, Any] | Cluster) -> Cluster:
    """Load a cluster from a YAML file or a mapping.

    >>> load_cluster({"model": "llama-2-7b", "policy": "continuous_batching",
    ...               "devices": [{"machine": "h100"}]}).devices[0].count
    1
    """
    if isinstance(source, Cluster):
        return source
    if isinstance(source, Mapping):
        document = Document(dict(source), "cluster", {})
    else:
        document = read_yaml(source)
    try:
        cluster = Cluster.model_validate(document.data)
    except ValidationError as error:
        complaint = first_complaint(error, Cluster)
        key = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", complaint.key)
        raise complaint.error(document.place(key), key) from None
    cluster._document = document
    return cluster
