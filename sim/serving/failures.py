"""Losses of devices as events: at each one the health of an instance is a new one."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.sim.serving._state import EVENT
from plait.sim.serving.scheduler import LOST_NOTHING, Health, Plan

if TYPE_CHECKING:
    from plait.sim.serving.cluster import Cluster

__all__ = ["Stage", "stages"]


class Stage:
    """An instance's health from a time on.

    Attributes:
        time_s: on the clock of the arrivals; minus infinity: from the start.
        instance: index.
        health: what is left.
        failure: index of the failure that caused it, -1 for a return.
        device: number of the lost device among the instance's.
    """

    def __init__(
        self, time_s: float, instance: int, health: Health, failure: int = -1, device: int = 0
    ) -> None:
        self.time_s, self.instance, self.health = time_s, instance, health
        self.failure, self.device = failure, device


def stages(cluster: Cluster, plan: Plan) -> list[Stage]:
    """All healths in the order of their time, those of the start first."""
    owner = {name: k for k, one in enumerate(plan.instances) for name in one.devices}
    changes: list[tuple[float, int, int, str]] = []  # at one time, returns come first
    for k, failure in enumerate(cluster.failures):
        if failure.device not in owner:
            near = difflib.get_close_matches(failure.device, owner, n=3, cutoff=0.3)
            raise cluster.refuse(
                f"failures[{k}].device",
                "no such device",
                got=failure.device,
                expected=" or ".join(near) or "a machine's name and a number, such as h20/1",
            )
        changes.append((failure.at_s, 1, k, failure.device))
        if failure.for_s is not None:
            changes.append((failure.at_s + failure.for_s, 0, k, failure.device))
    found = [Stage(-np.inf, i, one.health(frozenset())) for i, one in enumerate(plan.instances)]
    out: dict[str, int] = {}
    for time_s, is_loss, k, name in sorted(changes):
        i = owner[name]
        out[name] = out.get(name, 0) + (1 if is_loss else -1)
        one = plan.instances[i]
        health = one.health(frozenset(n for n in one.devices if out.get(n, 0) > 0))
        if not is_loss or _is_compute(cluster, name):
            health = Health(health.machines, health.kv_bytes, LOST_NOTHING)
        compute = sum(_is_compute(cluster, n) for n in one.devices)
        found.append(
            Stage(time_s, i, health, k if is_loss else -1, one.devices.index(name) - compute)
        )
    return found


def _is_compute(cluster: Cluster, name: str) -> bool:
    """Whether it is a device that holds no KV."""
    if cluster.policy != "attention_offload":
        return False
    machine, _, number = name.rpartition("/")
    before = 0
    for entry in cluster.devices:
        if entry.machine == machine:
            if int(number) < before + entry.count:
                return entry.role == "compute"
            before += entry.count
    return False


def events(
    found: list[Stage], tables: list[int], blocks: list[int], first_s: float
) -> NDArray[np.void]:
    """Write the stages after the start as `EVENT` records.

    Args:
        tables, blocks: of every stage: index of its step times (-1: down), room.
        first_s: arrival of the first request, where the kernel's clock starts.
    """
    later = [k for k, stage in enumerate(found) if np.isfinite(stage.time_s)]
    rows = np.zeros(len(later), EVENT)
    for row, k in zip(rows, later, strict=True):
        stage = found[k]
        row["time_s"] = max(stage.time_s - first_s, 0.0)
        row["instance"], row["device"] = stage.instance, stage.device
        row["table"], row["blocks"] = tables[k], blocks[k]
        row["lost"], row["failure"] = stage.health.lost, stage.failure
    return rows
