"""Serving: takes requests and a cluster, gives what its users see and what it costs.

Requests come from a trace or a generator (`request`, `arrivals`), a cluster from YAML (`cluster`),
times of a step from plait.sim.families (`times`); a policy (`scheduler`) lays instances over the
devices and the kernel plays the events. Next: plait.sim.report, for the page.

`allocate` answers the question before: how many devices of which kind (`melange`). `splitwise` and
`infinite_llm` are the rules of two papers exactly as published, to compare with.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Cluster": "cluster",
    "Outcome": "metrics",
    "allocate": "melange",
    "load_cluster": "cluster",
    "load_requests": "request",
    "policy_names": "scheduler",
    "serve": "run",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"plait.sim.serving.{_HOME[name]}"), name)
    raise AttributeError(f"module 'plait.sim.serving' has no attribute {name!r}")
