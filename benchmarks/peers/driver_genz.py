"""Runs GenZ (package genz-llm) on cases from standard input; needs that package alone.

A case: {"system", "phase", "batch", "context"}; its answer: {"milliseconds", "seconds_taken"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from importlib import metadata

RUNS = 3


def main() -> None:
    """Print one JSON line: the version, and an answer a case."""
    cases = json.load(sys.stdin)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        from GenZ import decode_moddeling, prefill_moddeling

        answers = [answer(case, prefill_moddeling, decode_moddeling) for case in cases]
    print(json.dumps({"version": metadata.version("genz-llm"), "answers": answers}))


def answer(case, prefill, decode):
    """Run a case and time it: the best of several."""
    common = {
        "model": "meta-llama/Llama-2-7B",
        "batch_size": case["batch"],
        "input_tokens": case["context"],
        "system_name": case["system"],
        "bits": "bf16",
    }
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        result = prefill(**common) if case["phase"] == "prefill" else decode(**common, Bb=1)
        times.append(time.perf_counter() - begun)
    return {"milliseconds": float(result["Latency"]), "seconds_taken": min(times)}


if __name__ == "__main__":
    main()
