"""A small model with step times written by hand: results can be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plait.models.graph.load import load_graph
from plait.sim.serving.times import Model

PREFILL_S = {1: 0.001, 1001: 1.001}  # a millisecond a token
DECODE_S = {1: 0.010, 101: 0.110}  # nine milliseconds, and one a request


@pytest.fixture(scope="session")
def model() -> Model:
    return Model.of(load_graph("smollm2-135m"), "w16a16kv16")


@pytest.fixture(scope="session")
def step_times(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [("prefill", 1, tokens, seconds) for tokens, seconds in PREFILL_S.items()]
    rows += [("decode", batch, 100, seconds) for batch, seconds in DECODE_S.items()]
    path = tmp_path_factory.mktemp("times") / "times.csv"
    frame = pd.DataFrame(rows, columns=["phase", "batch", "context", "seconds"])
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def cluster(model: Model, step_times: Path) -> Callable[..., dict[str, Any]]:
    """Describe a cluster whose instances have room for ``kv_tokens`` each."""

    def describe(kv_tokens: int = 100_000, instances: int = 1, **more: Any) -> dict[str, Any]:
        memory = model.weight_bytes + kv_tokens * model.kv_bytes_per_token
        device = {"machine": "h100", "count": instances, "tensor_parallel": 1}
        return {
            "model": "smollm2-135m",
            "formats": "w16a16kv16",
            "policy": "continuous_batching",
            "devices": [device | {"memory_bytes": float(memory)}],
            "usable_memory": 1.0,
            "step_times": str(step_times),
            "batching": {"reserve": 0.0},
            **more,
        }

    return describe


def trace(*rows: tuple[float, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["arrival_s", "context", "generated"])


@pytest.fixture(name="trace")
def _trace() -> Callable[..., pd.DataFrame]:
    return trace
