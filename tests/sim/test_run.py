"""A graph is simulated on every family in an interpreter that has no torch."""

from __future__ import annotations

import subprocess
import sys

from plait.models.graph.graph import Graph

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers"}:
            raise ImportError(name + " must not be loaded here")

sys.meta_path.insert(0, Refuse())
from plait.models.graph.graph import Graph
from plait.sim import simulate

graph = Graph.from_json(sys.stdin.read())
for machine in ("bitmod-lossy", "a6000", "systolic-128"):
    for fidelity in ("published", "closed_form"):
        report = simulate(graph, machine, fidelity=fidelity)
        assert report.seconds > 0
        print(report)
"""


def test_simulating_needs_no_torch(decoder: Graph) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=decoder.to_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("toy on") == 6
