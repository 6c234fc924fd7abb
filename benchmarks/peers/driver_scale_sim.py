"""Runs SCALE-Sim (package scalesim) on cases from standard input; needs that package alone.

A case: {"m", "n", "k", "rows", "columns"}; its answer: {"cycles", "seconds_taken"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

CONFIGURATION = """\
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 4096
FilterSramSzkB = 4096
OfmapSramSzkB = 4096
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = ws
ReadRequestBuffer = 512
WriteRequestBuffer = 512
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""


def main() -> None:
    """Print one JSON line: the version, and an answer a case."""
    cases = json.load(sys.stdin)
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        from scalesim.scale_sim import scalesim

        answers = [answer(case, scalesim) for case in cases]
    print(json.dumps({"version": metadata.version("scalesim"), "answers": answers}))


def answer(case, simulator_of):
    """Run a case once and time it; traces are not kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "machine.cfg").write_text(CONFIGURATION.format(**case))
        row = "product,{m},{n},{k},1:1,".format(**case)
        (folder / "products.csv").write_text(f"Layer,M,N,K,Sparsity,\n{row}\n")
        (folder / "layout.csv").write_text("Layer,\nproduct," + "1," * 18 + "\n")
        simulator = simulator_of(
            save_disk_space=True,
            verbose=False,
            config=str(folder / "machine.cfg"),
            topology=str(folder / "products.csv"),
            layout=str(folder / "layout.csv"),
            input_type_gemm=True,
        )
        begun = time.perf_counter()
        simulator.run_scale(top_path=str(folder))
        taken = time.perf_counter() - begun
        (report,) = folder.rglob("COMPUTE_REPORT.csv")
        heads, values = (line.split(",") for line in report.read_text().splitlines()[:2])
        columns = {head.strip(): value.strip() for head, value in zip(heads, values, strict=True)}
    return {"cycles": int(columns["Total Cycles"]), "seconds_taken": taken}


if __name__ == "__main__":
    main()
