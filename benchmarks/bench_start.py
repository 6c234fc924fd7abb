"""How long `plait --help`, `plait --version` and `import plait` take to start: best of several.

python benchmarks/bench_start.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
LIMIT_S = 0.3


def main() -> int:
    """Print the best time of each command; exit 1 if one is over the limit."""
    program = str(Path(sys.executable).with_name("plait"))
    commands = {
        "import plait": [sys.executable, "-c", "import plait"],
        "plait --version": [program, "--version"],
        "plait --help": [program, "--help"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    worst = 0.0
    for name, command in commands.items():
        best = min(seconds(command) for _ in range(RUNS))
        worst = max(worst, best)
        print(f"{name:16} {best:.3f} s")
    print(f"limit            {LIMIT_S:.3f} s; what is left is Python's own start and Typer's help")
    return int(worst > LIMIT_S)


def seconds(command: list[str]) -> float:
    """Run a command once and give its wall time."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
