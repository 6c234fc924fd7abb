"""Scheduling policies, one class each: how devices become instances, and by which rules they work.

A policy gives a `Plan`; the kernel plays it. Adding a policy is a class here and its registration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from plait.errors import SpecError, unknown_name
from plait.sim.cost.link import transfer_seconds
from plait.sim.cost.price import usd_per_hour
from plait.sim.serving._state import DECODE, MIXED, PROMPT, Rules
from plait.sim.serving.infinite_llm import shard_bytes
from plait.sim.spec.offload import Offload
from plait.sim.spec.roofline import Roofline

if TYPE_CHECKING:
    from plait.sim.serving.cluster import Cluster
    from plait.sim.serving.times import Model
    from plait.sim.spec.base import Accelerator

__all__ = ["Health", "Instance", "Plan", "Policy", "plan", "policy_names"]

ROLES = {"mixed": MIXED, "prompt": PROMPT, "decode": DECODE}
LOST_NOTHING, LOST_ALL, LOST_ONE_DEVICE = range(3)


@dataclass(frozen=True, slots=True)
class Health:
    """What is left of an instance.

    Attributes:
        machines: (decodes, prefills); None: it is down.
        kv_bytes: room for KV.
        lost: what the loss of a device takes with it.
    """

    machines: tuple[Accelerator, Accelerator | None] | None
    kv_bytes: float
    lost: int = LOST_NOTHING


@dataclass(frozen=True, slots=True)
class Instance:
    """Devices that run one copy of the model.

    Attributes:
        name: for tables.
        role: MIXED, PROMPT or DECODE.
        devices: names such as h20/1, as failures have them.
        health: of the devices that are down to what is left.
        kv_devices: memory devices that hold whole requests; 1: no such division.
        power_w: of all its devices.
    """

    name: str
    role: int
    devices: tuple[str, ...]
    health: Callable[[frozenset[str]], Health]
    kv_devices: int = 1
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the kernel needs to know of a policy on a cluster."""

    instances: tuple[Instance, ...]
    rules: Rules
    usd_per_hour: float | None


@dataclass(frozen=True)
class Policy:
    """What all policies share: instances of one role, whole prompts before other tokens."""

    name: ClassVar[str] = ""
    roles: ClassVar[tuple[str | None, ...]] = (None, "mixed", "compute")

    cluster: Cluster
    model: Model
    _numbers: dict[str, int] = field(default_factory=dict)

    def plan(self) -> Plan:
        """Lay instances over the devices."""
        for k, entry in enumerate(self.cluster.devices):
            if entry.role not in self.roles:
                known = ", ".join(str(role) for role in self.roles if role)
                raise self.cluster.refuse(
                    f"devices[{k}].role",
                    f"no role of policy {self.name}",
                    got=entry.role,
                    expected=known,
                )
        rented = [
            (device, entry.count)
            for k, entry in enumerate(self.cluster.devices)
            for device in [self.cluster.device_of(k)]
        ]
        priced = all(isinstance(device, Roofline) for device, _ in rented)
        return Plan(
            tuple(self.instances()),
            self.rules(),
            usd_per_hour(rented) if priced else None,  # type: ignore[arg-type]
        )

    def instances(self) -> list[Instance]:
        """One for every ``tensor_parallel`` devices of an entry."""
        return [one for k in range(len(self.cluster.devices)) for one in self.of_entry(k)]

    def rules(self, **changed: Any) -> Rules:
        """The cluster's limits; policies change some."""
        batching = self.cluster.batching
        values: dict[str, Any] = {
            "chunk_tokens": 0,
            "max_batch": batching.requests,
            "max_batch_tokens": batching.prompt_tokens,
            "block_tokens": batching.block_tokens,
            "reserve": batching.reserve,
            "lends": False,
            "send_s_per_token": 0.0,
            "move_s_per_token": 0.0,
            "layers": self.model.layers,
            "borrow_s": 0.0,
            "borrow_s_per_request": 0.0,
        }
        return Rules(**{**values, **changed})

    def of_entry(self, k: int) -> list[Instance]:
        """Instances of one entry of ``devices``; the loss of a device takes a whole one down."""
        entry = self.cluster.devices[k]
        width = entry.tensor_parallel or entry.count
        if entry.count % width:
            raise self.cluster.refuse(
                f"devices[{k}].tensor_parallel",
                "does not divide the devices",
                got=width,
                expected=f"a divisor of {entry.count}",
            )
        machine = self.group(k, width)
        capacity = width * self.memory_bytes(k) * self.cluster.usable_memory
        kv_bytes = capacity - self.model.weight_bytes
        if kv_bytes < self.model.kv_bytes_per_token * self.cluster.batching.block_tokens:
            raise self.cluster.refuse(
                f"devices[{k}]",
                f"{width} x {entry.machine} with {capacity / 1e9:.1f} GB usable cannot hold "
                f"{self.cluster.model} and any KV",
                expected=f"more than {self.model.weight_bytes / 1e9:.1f} GB",
            )
        prefills = machine if self.cluster.prefill == "local" else None
        whole = Health((machine, prefills), kv_bytes)

        def health(down: frozenset[str]) -> Health:
            return Health(None, 0, LOST_ALL) if down else whole

        names = self.names(k)
        return [
            Instance(
                f"{entry.machine} x {width} #{begin // width}",
                ROLES.get(entry.role or "mixed", MIXED),
                tuple(names[begin : begin + width]),
                health,
                power_w=_power(machine, width),
            )
            for begin in range(0, entry.count, width)
        ]

    def group(self, k: int, width: int) -> Accelerator:
        """A machine that is several devices with every layer split over them."""
        machine = self.cluster.device_of(k)
        if width == 1:
            return machine
        if not isinstance(machine, Roofline):
            raise self.cluster.refuse(
                f"devices[{k}].tensor_parallel",
                f"family {machine.family} does not split a model over devices",
                got=width,
                expected="1",
            )
        return machine.with_(**{"tensor_parallel.devices": width})

    def memory_bytes(self, k: int) -> float:
        """Memory of one device of an entry."""
        entry, machine = self.cluster.devices[k], self.cluster.device_of(k)
        found = entry.memory_bytes
        if found is None and isinstance(machine, Roofline):
            found = machine.memory.capacity_bytes
        if found is None:
            raise self.cluster.refuse(
                f"devices[{k}].memory_bytes", f"missing, and {machine.name} does not state it"
            )
        return float(found)

    def names(self, k: int) -> list[str]:
        """Names of an entry's devices; entries of one machine are numbered on."""
        machine = self.cluster.devices[k].machine
        before = sum(e.count for e in self.cluster.devices[:k] if e.machine == machine)
        return [f"{machine}/{before + i}" for i in range(self.cluster.devices[k].count)]


_POLICIES: dict[str, type[Policy]] = {}


def _register(policy: type[Policy]) -> type[Policy]:
    if policy.name in _POLICIES:
        raise ValueError(f"policy {policy.name} is registered twice")
    _POLICIES[policy.name] = policy
    return policy


def policy_names() -> list[str]:
    """List the policies.

    >>> policy_names()[:2]
    ['attention_offload', 'chunked_prefill']
    """
    return sorted(_POLICIES)


def plan(cluster: Cluster, model: Model) -> Plan:
    """Lay the cluster's policy over its devices."""
    if cluster.policy not in _POLICIES:
        raise SpecError(unknown_name("policy", cluster.policy, _POLICIES), where="policy")
    return _POLICIES[cluster.policy](cluster, model).plan()


@_register
class ContinuousBatching(Policy):
    """vLLM's first scheduler: waiting prompts go before other tokens, whole, as far as they fit."""

    name = "continuous_batching"


@_register
class ChunkedPrefill(Policy):
    """Sarathi: every iteration has all decoding requests, and what of prompts fits beside them."""

    name = "chunked_prefill"

    def rules(self, **changed: Any) -> Rules:
        """Bound the tokens of an iteration."""
        return super().rules(chunk_tokens=self.cluster.batching.chunk_tokens, **changed)


@_register
class PromptDecodeSplit(Policy):
    """Splitwise: prompts on one pool, other tokens on another, KV sent layer by layer between."""

    name = "prompt_decode_split"
    roles = ("prompt", "decode")

    def rules(self, **changed: Any) -> Rules:
        """Price the way of the KV."""
        network, entries = self.cluster.network, self.cluster.devices
        if network is None:
            raise self.cluster.refuse("network", "missing: KV goes from prompt to decode instances")
        for role in self.roles:
            if not any(entry.role == role for entry in entries):
                raise self.cluster.refuse("devices", f"no device of role {role}")
        move = self.model.kv_bytes_per_token / network.bandwidth_bytes_per_s
        return super().rules(move_s_per_token=move, **changed)


@_register
class DistributedKV(Policy):
    """Infinite-LLM: an instance without room borrows blocks of the one with the most free.

    Attention to borrowed blocks runs where they are; queries go there, partial results come back.
    """

    name = "distributed_kv"

    def rules(self, **changed: Any) -> Rules:
        """Price a step whose KV is partly elsewhere, a message there and back a layer."""
        network, model = self.cluster.network, self.model
        if network is None:
            raise self.cluster.refuse("network", "missing: instances borrow KV memory over it")
        each = shard_bytes(model.width, model.heads, model.activation_bytes)
        per_layer = transfer_seconds(each, network.bandwidth_bytes_per_s)
        return super().rules(
            lends=True,
            borrow_s=model.layers * network.round_trip_s,
            borrow_s_per_request=model.layers * per_layer,
            **changed,
        )


@_register
class AttentionOffload(Policy):
    """Lamina: weights on compute devices, KV and attention on memory devices, one instance.

    All batches in flight together are one batch here: an iteration gives each a token, in the time
    of the offload family's formula. Prompts run on the compute devices between iterations, their KV
    is sent while they are computed.
    """

    name = "attention_offload"
    roles = ("compute", "memory")

    def instances(self) -> list[Instance]:
        """One, of both pools."""
        compute, memory = (self._only(role) for role in self.roles)
        names = [*self.names(compute), *self.names(memory)]
        whole = self._health(compute, memory, frozenset())
        if whole.machines is None:
            entry = self.cluster.devices[compute]
            raise self.cluster.refuse(
                f"devices[{compute}]",
                f"{entry.count} x {entry.machine} cannot hold {self.cluster.model}",
                expected=f"{self.model.weight_bytes / 1e9:.1f} GB usable in every replica",
            )
        powers = [
            _power(self.cluster.device_of(k), self.cluster.devices[k].count)
            for k in (compute, memory)
        ]
        known = [power for power in powers if power is not None]
        by_request = self.cluster.partition == "request"
        return [
            Instance(
                f"{self.cluster.devices[compute].machine} + {self.cluster.devices[memory].machine}",
                MIXED,
                tuple(names),
                lambda down: self._health(compute, memory, down),
                kv_devices=self.cluster.devices[memory].count if by_request else 1,
                power_w=sum(known) if len(known) == 2 else None,
            )
        ]

    def rules(self, **changed: Any) -> Rules:
        """Price the way of a prompt's KV to the memory devices."""
        seconds = 0.0
        if self.cluster.prefill == "local":
            bandwidth = self._network().bandwidth_bytes_per_s * self._links()
            seconds = self.model.kv_bytes_per_token / bandwidth
        return super().rules(send_s_per_token=seconds, **changed)

    def _only(self, role: str) -> int:
        found = [k for k, entry in enumerate(self.cluster.devices) if entry.role == role]
        if len(found) != 1:
            raise self.cluster.refuse(
                "devices", f"attention_offload has one entry of role {role}", got=len(found)
            )
        k = found[0]
        if not isinstance(self.cluster.device_of(k), Roofline):
            raise self.cluster.refuse(
                f"devices[{k}].machine", "is no machine of family roofline", expected="such a one"
            )
        return k

    def _network(self) -> Any:
        if self.cluster.network is None:
            raise self.cluster.refuse("network", "missing: every layer sends q, k and v over it")
        return self.cluster.network

    def _links(self) -> int:
        compute = self.cluster.devices[self._only("compute")]
        return compute.count if self._network().links == "per_compute_device" else 1

    def _health(self, compute: int, memory: int, down: frozenset[str]) -> Health:
        """What is left when devices are down; compute devices hold nothing that is lost."""
        cluster = self.cluster
        replicas = cluster.pipelining.replicas
        left = [
            sum(name not in down for name in self.names(k)) for k in (compute, memory)
        ]  # fmt: skip
        if cluster.devices[compute].count % replicas:
            raise cluster.refuse(
                f"devices[{compute}].count",
                f"{cluster.pipelining.batches_in_flight} batches in flight need {replicas} equal "
                "replicas",
                got=cluster.devices[compute].count,
            )
        share = cluster.usable_memory
        if not down:
            self._check_heads(memory)
        lost_memory = any(name in down for name in self.names(memory))
        lost = LOST_NOTHING
        if lost_memory:
            lost = LOST_ONE_DEVICE if cluster.partition == "request" else LOST_ALL
        each = left[0] // replicas
        shards = left[1]
        if cluster.partition == "head":  # the rest of the devices idle
            shards = next((n for n in range(shards, 0, -1) if self.model.kv_heads % n == 0), 0)
        kv_bytes = shards * self.memory_bytes(memory) * share
        if each * self.memory_bytes(compute) * share < self.model.weight_bytes or shards == 0:
            return Health(None, kv_bytes, lost)
        return Health(self._machines(compute, memory, each, shards), kv_bytes, lost)

    def _check_heads(self, memory: int) -> None:
        count, heads = self.cluster.devices[memory].count, self.model.kv_heads
        if self.cluster.partition == "head" and heads % count:
            raise self.cluster.refuse(
                f"devices[{memory}].count",
                f"{heads} KV heads cannot be divided equally over the memory devices",
                got=count,
                expected=f"a divisor of {heads}, or partition: request or token",
            )

    def _machines(
        self, compute: int, memory: int, each: int, shards: int
    ) -> tuple[Accelerator, Accelerator | None]:
        cluster, network = self.cluster, self._network()
        device, store = cluster.device_of(compute), cluster.device_of(memory)
        assert isinstance(device, Roofline)
        tree: Mapping[str, Any] = {
            "family": "offload",
            "name": "lamina",
            "compute": {"machine": device, "count": each},
            "memory": {"machine": store, "count": shards},
            "network": network.model_dump(),
            "tensor_parallel": device.tensor_parallel,
            "host_overhead_s": cluster.host_overhead_s,
            "overlap": cluster.overlap,
            "partition": cluster.partition,
            "pipelining": cluster.pipelining,
        }
        machine = Offload.model_validate(tree)
        prefills = None
        if cluster.prefill == "local":
            prefills = device.with_(**{"tensor_parallel.devices": each})
        return machine, prefills


def _power(machine: Accelerator, count: int) -> float | None:
    power = getattr(machine, "power_w", None)
    return None if power is None else power * count
