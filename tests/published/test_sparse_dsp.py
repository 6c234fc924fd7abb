"""FlightLLM (FPGA 2024, arXiv 2401.03868): the rows its published simulator gives, and its claims.

sim/published/flightllm.csv: Llama-2-7B on a VHK158, milliseconds and instructions of each queue.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import plait
from plait.errors import SpecError
from plait.models.graph import Graph, load_graph
from plait.sim import simulate
from plait.sim.compiler.published import in_order, units
from plait.sim.compiler.unit import whole
from plait.sim.families.sparse_dsp_times import durations, rates
from plait.sim.report.report import Report
from plait.sim.spec import load_accelerator
from plait.sim.timeline import run

ROWS = pd.read_csv(Path(plait.__file__).parent / "sim/published/flightllm.csv", comment="#")
QUEUES = ("ld", "st", "mm", "mv", "misc", "sys")

# One decode step of Llama-2-7B on a U280 at 225 MHz, counted by the chip itself (third party).
MEASURED_CYCLES = {128: 3_937_100, 512: 4_272_163}


@pytest.fixture(scope="module")
def llama() -> Graph:
    return load_graph("llama-2-7b")


def published(graph: Graph, machine: str, phase: str, context: int) -> Report:
    return simulate(graph, machine, phase=phase, context=context, fidelity="published")


@pytest.fixture(scope="module")
def reports(llama: Graph) -> list[Report]:
    return [
        published(llama, "flightllm-vhk158", row.phase, row.tokens) for row in ROWS.itertuples()
    ]


def test_every_time_to_six_decimals(reports: list[Report]) -> None:
    assert len(reports) == 61
    for queue in QUEUES:
        ours = [round(r.totals["units"][queue]["seconds"] * 1e3, 6) for r in reports]
        assert ours == ROWS[f"{queue}_ms"].tolist(), queue
    assert [round(r.seconds * 1e3, 6) for r in reports] == ROWS["total_ms"].tolist()


def test_every_instruction(reports: list[Report]) -> None:
    for queue in QUEUES:
        ours = [r.totals["units"][queue]["instructions"] for r in reports]
        assert ours == ROWS[f"{queue}_n"].tolist(), queue


@pytest.mark.slow
def test_prefill_of_the_measured_masks(llama: Graph) -> None:
    """Figures of the authors' simulator; the sums at 512 tokens are those of its sample log."""
    found = {n: published(llama, "flightllm-vhk158", "prefill", n) for n in (256, 512)}
    assert round(found[256].seconds * 1e3, 6) == 584.034478
    assert round(found[512].seconds * 1e3, 6) == 1181.419287
    units = found[512].totals["units"]
    assert [round(units[q]["seconds"] * 1e3, 1) for q in ("ld", "mm", "misc")] == [
        426.8,
        1109.1,
        49.6,
    ]


@pytest.mark.parametrize(("context", "cycles"), [(128, 3_974_342), (512, 4_238_047)])
def test_u280_beside_the_hardware(llama: Graph, context: int, cycles: int) -> None:
    ours = published(llama, "flightllm-u280", "decode", context).cycles
    assert ours == cycles
    assert abs(cycles / MEASURED_CYCLES[context] - 1) < 0.01  # measured: +0.95 %, -0.80 %


def test_a_step_runs_the_program_of_its_bucket(llama: Graph) -> None:
    times = {n: published(llama, "flightllm-vhk158", "decode", n).seconds for n in (129, 144, 145)}
    assert times[129] == times[144] < times[145]
    prompts = [published(llama, "flightllm-u280", "prefill", n).seconds for n in (1, 128)]
    assert prompts[0] == prompts[1]


@pytest.mark.parametrize(("phase", "tokens"), [("decode", 528), ("prefill", 128)])
def test_the_whole_program_takes_the_sum_of_its_units(
    llama: Graph, phase: str, tokens: int
) -> None:
    machine = load_accelerator("flightllm-vhk158")
    formats = machine.formats.resolve(llama.name, phase)
    compiled = units(llama.bind(phase, 1, tokens, None, formats), machine)
    program = whole(in_order(compiled))
    report = published(llama, "flightllm-vhk158", phase, tokens)
    counts = program.counts()
    assert counts == {q: report.totals["units"][q]["instructions"] for q in QUEUES}
    total = run(program, durations(program, rates(machine))).total
    assert total == pytest.approx(report.seconds, rel=1e-12)


REQUESTS = {
    (128, 512): 4946.4236,
    (128, 1024): 10318.5676,
    (128, 1536): 16103.1035,
    (512, 512): 5269.0459,
    (512, 1024): 10950.4838,
    (512, 1536): 17044.3138,
}


def test_the_six_requests(llama: Graph) -> None:
    """Decode milliseconds of the authors' sample log: sums over the buckets of every step."""
    step_ms = {
        n: published(llama, "flightllm-vhk158", "decode", n).seconds * 1e3
        for n in range(144, 2049, 16)
    }
    for (prompt, new), wanted in REQUESTS.items():
        lengths = (-(-(prompt + i + 1) // 16) * 16 for i in range(new))
        # the authors add up steps printed to six decimals
        assert sum(step_ms[n] for n in lengths) == pytest.approx(wanted, abs=5e-7 * new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"phase": "prefill", "context": 513}, "at most 512"),
        ({"context": 2049}, "at most 2048"),
        ({"batch": 2}, "batch"),
        ({"formats": "w4a16kv8"}, "activation_bits"),
    ],
)
def test_what_is_not_published_is_refused(llama: Graph, change: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        simulate(llama, "flightllm-vhk158", fidelity="published", **change)


def test_other_cores_are_refused(llama: Graph) -> None:
    with pytest.raises(SpecError, match=r"flightllm-small: chains.*got 4, expected 128"):
        published(llama, "flightllm-small", "decode", 128)
