"""Runs a checkout of LLM-Viewer (it is no package) on cases from standard input.

python driver_llm_viewer.py CHECKOUT; needs transformers for its configuration, nothing of ours.
A case: {"hardware", "phase", "batch", "context", "config"}, where config is the model's in Hugging
Face's terms; its answer: {"milliseconds", "seconds_taken"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3


def main() -> None:
    """Print one JSON line: the version, and an answer a case."""
    checkout = sys.argv[1]
    cases = json.load(sys.stdin)
    sys.path.insert(0, checkout)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        from model_analyzer import ModelAnalyzer

        answers = [answer(case, ModelAnalyzer) for case in cases]
    print(json.dumps({"version": "checkout", "answers": answers}))


def answer(case, analyzer_of):
    """Run a case and time it: the best of several. One run gives both phases."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]))
        analyzer = analyzer_of(folder, case["hardware"], config_file="configs/Llama.py")
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        found = analyzer.analyze(seqlen=case["context"], batchsize=case["batch"])
        times.append(time.perf_counter() - begun)
    seconds = found["total_results"][case["phase"]]["inference_time"]
    return {"milliseconds": seconds * 1e3, "seconds_taken": min(times)}


if __name__ == "__main__":
    main()
