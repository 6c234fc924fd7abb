"""Runs every command that writes where nothing can be written, and tells what came of it.

python unwritable.py full FOLDER       # no file of this process may grow: a full disk
python unwritable.py read-only FOLDER  # the results are to go to a folder that takes none
Prints one JSON line: {command: [exit status, standard error, what it left behind]}.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
from pathlib import Path

LARGEST_FILE = 64  # bytes: enough for a semaphore, not for a result
SPACE = """\
model: llama-2-7b
machine: bitmod-lossy
vary: {array.decode.rows: [16, 32]}
"""
REQUESTS = """\
requests: 5
arrivals: {kind: poisson, rate_per_s: 2}
lengths: {kind: log_normal, context: 100, generated: 20}
"""
CLUSTER = """\
model: llama-2-7b
policy: continuous_batching
devices: [{machine: h100, count: 1}]
"""
COMMANDS = [
    "simulate llama-2-7b bitmod-lossy --csv {out}/table.csv",
    "simulate llama-2-7b bitmod-lossy --html {out}/page.html",
    "generate bitmod-small -o {out}/verilog",
    "sweep space.yaml -o {out}/sweep.parquet",
    "pareto done.parquet --csv {out}/front.csv",
    "search space.yaml --trials 4 --csv {out}/search.csv",
    "serve requests.yaml cluster.yaml --csv {out}/requests.csv",
    "serve requests.yaml cluster.yaml --html {out}/page.html",
    "serve requests.yaml cluster.yaml --out {out}/run",
]
LONGER = [
    "simulate smollm2-135m flightllm-u280 --fidelity timeline --trace {out}/trace.json",
    "export smollm2-135m -o {out}/model.pt2",
    "quantize smollm2-135m --format int4 -o {out}/weights.safetensors",
]


def main(kind: str, folder: Path, commands: list[str]) -> None:
    """Run the commands in ``folder``, where inputs are, one after the other."""
    from plait.cli import main as plait

    os.chdir(folder)
    for name, text in (("space", SPACE), ("requests", REQUESTS), ("cluster", CLUSTER)):
        Path(f"{name}.yaml").write_text(text)
    assert plait(["sweep", "space.yaml", "-o", "done.parquet"]) == 0  # keeps the graph, too
    out = sealed(Path("out"), kind)
    before = sorted(out.iterdir())
    seen = {}
    for command in commands:
        complaint = io.StringIO()
        with contextlib.redirect_stderr(complaint), contextlib.redirect_stdout(io.StringIO()):
            status = plait(command.format(out=out).split())
        left = sorted(str(path) for path in set(out.iterdir()) - set(before))
        seen[command] = [status, complaint.getvalue(), left]
    print(json.dumps(seen))


def sealed(out: Path, kind: str) -> Path:
    """Give a folder in which nothing can be written from now on."""
    out.mkdir()
    if kind == "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY))
        return out
    out.chmod(0o555)
    return Path("/sys/kernel") if os.access(out, os.W_OK) else out  # root may write to the first


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), LONGER if "longer" in sys.argv else COMMANDS)
