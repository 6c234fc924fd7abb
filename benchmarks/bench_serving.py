"""Requests a second of the serving simulator on one core, beside Splitwise's rules in Python.

python benchmarks/bench_serving.py [REQUESTS]

Llama-2-70B on two servers of eight H100, requests by a formula whose lengths repeat. "played" is
the time of the kernel and of what feeds it, "whole" adds the checks and the tables of step times.
Compiling, once for a machine, is told apart.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from plait.sim.serving import run, serve
from plait.sim.serving.metrics import Outcome
from plait.sim.serving.splitwise import Profile, play

REQUESTS = 10_000
WANTED_PER_S = 10_000
NETWORK = {"bandwidth_bytes_per_s": 200e9}
SERVER = {"machine": "h100", "tensor_parallel": 8}
POLICIES = {
    "continuous_batching": [{**SERVER, "count": 16}],
    "chunked_prefill": [{**SERVER, "count": 16}],
    "prompt_decode_split": [
        {**SERVER, "count": 8, "role": "prompt"},
        {"machine": "h100-sxm", "count": 8, "memory_bytes": 80e9, "role": "decode"},
    ],
    "distributed_kv": [{**SERVER, "count": 16}],
}


def main() -> int:
    """Print a row for every policy, and say whether all are fast enough."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    requests = trace(count)
    begin = time.process_time()
    serve(requests[:10], cluster("continuous_batching"))
    print(f"first run, with compiling if it was not kept: {time.process_time() - begin:.1f} s")
    slowest = np.inf
    for policy in POLICIES:
        played, whole, outcome = measure(requests, policy)
        slowest = min(slowest, count / played)
        print(
            f"{policy:22} {count / played:12,.0f} requests/s played {count / whole:10,.0f} whole  "
            f"{outcome.counts['tokens'] / played / 1e6:6.1f} M tokens/s  "
            f"{outcome.most_in_flight} in flight  {bottleneck(requests, policy)}"
        )
    seconds = processor_seconds(lambda: splitwise(requests))
    print(f"{'Splitwise, two servers':22} {count / seconds:12,.0f} requests/s, in Python")
    print(f"{'wanted':22} {WANTED_PER_S:12,.0f} requests/s")
    return int(slowest < WANTED_PER_S)


def trace(count: int) -> pd.DataFrame:
    """Eight requests a second, prompts of 256 to 2303 tokens, 8 to 167 generated."""
    i = np.arange(count)
    return pd.DataFrame(
        {
            "arrival_s": 0.125 * (i + 1),
            "context": 256 + 377 * i % 2048,
            "generated": 8 + 53 * i % 160,
        }
    )


def cluster(policy: str) -> dict[str, object]:
    """Two servers under a policy."""
    return {
        "model": "llama-2-70b",
        "formats": "w16a16kv16",
        "policy": policy,
        "devices": POLICIES[policy],
        "network": NETWORK,
    }


def measure(requests: pd.DataFrame, policy: str) -> tuple[float, float, Outcome]:
    """Processor seconds of playing and of the whole, the best of three, and the result."""
    spent: list[float] = []
    original = run._play

    def timed(*arguments: object) -> object:
        begin = time.process_time()
        result = original(*arguments)
        spent.append(time.process_time() - begin)
        return result

    run._play = timed
    try:
        whole = []
        for _ in range(3):
            begin = time.process_time()
            outcome = serve(requests, cluster(policy))
            whole.append(time.process_time() - begin)
    finally:
        run._play = original
    return min(spent), min(whole), outcome


def splitwise(requests: pd.DataFrame) -> None:
    """The published rules on two servers, times that grow as a line."""
    x = np.array([128.0, 2048.0, 32768.0])
    profile = Profile(x, 0.05 + 9e-5 * x, 0.03 + 6e-7 * x)
    play(requests.arrival_s, requests.context, requests.generated, [profile, profile])


def processor_seconds(do: Callable[[], object]) -> float:
    """Processor time: other programs on the machine do not count."""
    begin = time.process_time()
    do()
    return time.process_time() - begin


def bottleneck(requests: pd.DataFrame, policy: str) -> str:
    """Name the function of ours in which the whole run spends most."""
    profile = cProfile.Profile()
    profile.runcall(serve, requests, cluster(policy))
    own = {
        name: times[3]
        for (file, _, name), times in pstats.Stats(profile).stats.items()
        if file.endswith(("/serving/times.py", "/serving/run.py", "/serving/request.py"))
    }
    parts = {name: own.get(name, 0.0) for name in ("tabulate", "probe", "check", "_play")}
    worst = max(parts, key=lambda name: parts[name])
    return f"{parts[worst] / own['serve']:.0%} in {worst}"


if __name__ == "__main__":
    sys.exit(main())
