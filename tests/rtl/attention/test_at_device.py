"""The whole device on its native harness: values, and cycles in closed form and with stalls."""

from __future__ import annotations

import numpy as np
import pytest
from harness import RTL, sources_of

from plait.attention_cosimulation import run_device
from plait.hwgen.attention.assemble import Job
from plait.hwgen.generate import design_of
from plait.hwgen.tools import run, verilator_command, verilator_environment, yosys_command
from plait.models.golden.attention_operands import (
    attend_cache,
    blocks,
    dense,
    encode_cache,
    fold_query,
    lambda_segments,
)
from plait.sim.families.attention_cycles import Device, closed_form, schedule
from plait.sim.families.memory_port import Memory
from plait.sim.spec import load_accelerator

pytestmark = [pytest.mark.rtl, pytest.mark.slow]

# Bound by the arithmetic; by the port (a step of all lanes, keys of two words); everything odd.
UNITS = [
    {},
    {"lanes": 64, "port_bits": 256, "query_heads": 1},
    {
        "head_size": 12,
        "lanes": 5,
        "query_heads": 3,
        "port_bits": 256,
        "max_segments": 3,
        "table_bits": 5,
        "score_fraction_bits": 11,
        "probability_bits": 15,
        "guard_bits": 9,
    },
]


def design(changes):
    machine = load_accelerator("offload-small")
    return design_of(machine.with_(**{f"attention_unit.{k}": v for k, v in changes.items()}))


def jobs(changes) -> list[Job]:
    """Dense, masked, of single tokens, with a maximum that suits or not, empty."""
    rng = np.random.default_rng(0)
    size, heads = changes.get("head_size", 64), changes.get("query_heads", 4)
    cache = encode_cache(*rng.standard_normal((2, 70, size)))
    query = fold_query(2 * rng.standard_normal((heads, size)))
    shift, none = cache.value_shift, np.zeros((0, 2), np.int64)
    top = int(attend_cache(query, cache, shift).reference.max())
    return [
        Job(query, cache, dense(70), shift),
        Job(query, cache, lambda_segments(70, 3, 21), shift),
        Job(query, cache, blocks(70, [1, 40, 69], 1), shift),
        Job(query, cache, dense(70), shift, unified=top),
        Job(query, cache, none, shift),
        Job(query, cache, dense(70), shift, unified=top - 1),
    ]


@pytest.mark.parametrize("changes", UNITS, ids=["small", "port-bound", "odd"])
def test_values_and_cycles(changes):
    """Bit for bit and cycle for cycle, without stalls and with; the latency may be long."""
    for latency, stall, seed in ((8, 0, 0), (1, 0, 1), (60, 0, 2), (8, 0.3, 3), (20, 0.6, 4)):
        made = run_device(design(changes), jobs(changes), latency=latency, stall=stall, seed=seed)
        assert made.values_different == 0
        assert sum(made.cycles_by_cause.values()) == made.cycles_measured
        if not stall:
            assert made.cycles_measured == made.cycles_predicted
        # What the recurrence leaves out shows only when hundreds of words wait.
        assert abs(made.cycles_measured / made.cycles_predicted - 1) <= 0.02


def test_closed_form_is_the_recurrence_without_stalls():
    rng = np.random.default_rng(7)
    for _ in range(100):
        device = Device(*(int(rng.integers(1, most)) for most in (9, 5)), 16, 20)
        segments = np.array([[first, count] for first, count in rng.integers(1, 40, (3, 2))])
        latency, load, runs = (int(rng.integers(1, most)) for most in (40, 30, 3))
        total = sum(closed_form(device, segments, load, latency=latency, runs=runs).values())
        assert schedule(device, [(segments, load, runs)], Memory(latency)) == total


@pytest.mark.parametrize("parameters", [{}, {"HeadSize": 12, "Lanes": 5, "PortBits": 256}], ids=str)
def test_verilator_has_no_warning(parameters):
    files = [str(RTL / "lint/waivers.vlt"), *map(str, sources_of("plait_at_device", "attention.f"))]
    options = [f"-G{name}={value}" for name, value in parameters.items()]
    command = [verilator_command(), "--lint-only", "-Wall", f"-I{RTL / 'common'}"]
    run(
        [*command, *options, *files, "--top-module", "plait_at_device"],
        environment=verilator_environment(),
    )


def test_yosys_takes_the_device():
    files = sources_of("plait_at_device", "attention.f")
    sources = " ".join(str(path.relative_to(RTL)) for path in files)
    small = "-chparam HeadSize 8 -chparam Lanes 4 -chparam PortBits 256 -chparam QueryHeads 1"
    script = f"read_verilog -sv -D SYNTHESIS -Icommon {sources}; hierarchy -check -top"
    script += f" plait_at_device {small}; proc; check -assert"
    run([*yosys_command(), "-q", "-p", script], folder=RTL)
