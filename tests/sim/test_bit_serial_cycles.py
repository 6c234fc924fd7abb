"""The bit-serial machine's recurrence against its closed form; the RTL tests close the ring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.sim.families.bit_serial_cycles import MAX_INPUTS, closed_form, matmul_cycles
from plait.sim.families.bit_serial_schedule import (
    CAUSES,
    Machine,
    matmul_counts,
    schedule,
)
from plait.sim.families.memory_port import BURST_WORDS, WORDS_IN_FLIGHT, Memory, stalled

SMALL = Machine(8, 4, 4, 8, 256, weight_buffer_steps=64, scale_buffer_groups=16)
ARRAYS = [(8, 4, 4), (64, 1, 4), (32, 32, 4), (64, 16, 4), (3, 2, 5), (1, 1, 1), (80, 3, 8)]


def smallest_buffers(rows: int, lanes: int, port_bits: int) -> tuple[int, int]:
    """What plait_bs_weight_buffer accepts."""
    return 2 * -(-rows * 16 // port_bits) + 2 * -(-rows * lanes // port_bits) + 4, 4


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    rows, columns, lanes = draw(st.sampled_from(ARRAYS))
    port_bits = draw(st.sampled_from([256, 512, 288]))
    steps, groups = smallest_buffers(rows, lanes, port_bits)
    return Machine(
        rows, columns, lanes, draw(st.integers(1, 8)), port_bits,
        steps + draw(st.sampled_from([0, 1, 100])), groups + draw(st.integers(0, 20)),
    )  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn, machine: Machine) -> dict[str, int]:
    """Ragged everywhere: tiles of all three sizes, groups of few steps, a short last group."""
    terms = draw(st.integers(1, 4))
    group_steps = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 32]))
    steps = draw(st.integers(1, 5 * group_steps))
    return {
        "code_bits": draw(st.integers(2 * terms - 1, 2 * terms)),
        "terms": terms,
        "outputs": draw(st.integers(1, 5 * machine.rows)),
        "inputs": steps * machine.lanes - draw(st.integers(0, machine.lanes - 1)),
        "tokens": draw(st.integers(1, 4 * machine.columns)),
        "group_size": group_steps * machine.lanes,
    }


CASES = machines().flatmap(lambda machine: st.tuples(st.just(machine), shapes(machine)))


def by_function(machine: Machine, **changed: Any) -> Any:
    arguments = {
        "rows": machine.rows, "columns": machine.columns, "lanes": machine.lanes,
        "port_bits": machine.port_bits, "scale_bits": machine.scale_bits,
        "weight_buffer_bytes": 1 << 20, "activation_buffer_bytes": 1 << 24,
        "scale_buffer_bytes": 1 << 20, "write_port_bits": 64, "batch": 1, "weight_bits": 4.125,
        "activation_bits": 16, "own_weights": False,
    }  # fmt: skip
    return matmul_cycles(**(arguments | changed))


@settings(max_examples=300, deadline=None)
@given(CASES, st.integers(1, WORDS_IN_FLIGHT - 2 * BURST_WORDS))
def test_closed_form_is_the_recurrence(case: tuple[Machine, dict[str, int]], latency: int) -> None:
    machine, shape = case
    job = matmul_counts(machine, **shape)
    (causes,) = schedule(machine, [job], Memory(latency))
    counted = dict(zip(CAUSES, causes.tolist(), strict=True))
    rungs = closed_form(job, machine.scale_bits, latency)
    assert sum(rungs) == causes.sum()
    assert min(rungs) >= 0
    for name in ("compute", "descriptor", "activation_load", "pipeline_fill"):
        assert getattr(rungs, name) == counted[name]
    assert rungs.memory_stall == 0 or counted["memory_stall"] > 0


@settings(max_examples=200, deadline=None)
@given(CASES, st.integers(1, 3))
@example((SMALL, {"code_bits": 4, "terms": 2, "outputs": 1, "inputs": 1, "tokens": 1,
                  "group_size": 4}), 1)  # fmt: skip
def test_sizes_become_the_same_tiles_and_words(
    case: tuple[Machine, dict[str, int]], batch: int
) -> None:
    machine, shape = case
    counts = by_function(machine, batch=batch, **shape)
    cycles = schedule(machine, [matmul_counts(machine, **shape)]).sum()
    rungs = counts[: counts._fields.index("busy_cycles")]
    assert sum(rungs) == batch * cycles
    assert min(rungs) >= 0
    macs = shape["outputs"] * shape["inputs"] * shape["tokens"]
    pes = machine.rows * machine.columns * machine.lanes
    assert counts.ideal == batch * -(-macs * shape["terms"] // pes)


def test_arrays_give_what_numbers_give() -> None:
    outputs, rows = np.array([[1], [100], [4096]]), np.array([8, 64, 3])
    sizes = {"code_bits": 3, "terms": 2, "inputs": 500, "tokens": 5, "group_size": 128}
    together = by_function(SMALL, outputs=outputs, rows=rows, **sizes)
    for i in range(3):
        for j in range(3):
            alone = by_function(
                SMALL._replace(rows=int(rows[j])), outputs=int(outputs[i, 0]), **sizes
            )
            assert [int(np.broadcast_to(f, (3, 3))[i, j]) for f in together] == list(
                map(int, alone)
            )


def test_a_list_of_descriptors_costs_the_sum() -> None:
    jobs = [
        matmul_counts(SMALL, 4, 2, outputs=20, inputs=300, tokens=7, group_size=128),
        matmul_counts(SMALL, 8, 4, outputs=8, inputs=8, tokens=1, group_size=8),
        matmul_counts(SMALL, 3, 2, outputs=9, inputs=64, tokens=9, group_size=32),
    ]
    alone = [schedule(SMALL, [job])[0].tolist() for job in jobs]
    assert schedule(SMALL, jobs).tolist() == alone


def test_the_example_of_the_rtl_readme() -> None:
    job = matmul_counts(SMALL, 4, 2, outputs=16, inputs=64, tokens=4, group_size=32)
    assert schedule(SMALL, [job]).tolist() == [[14, 27, 3, 64, 0, 0, 0, 15, 8]]


@pytest.mark.parametrize(
    ("machine", "shape", "cause"),
    [
        # 384 bits a step of two cycles, 256 bits a cycle
        (Machine(64, 16, 4, 8, 256, 64, 16), (3, 2, 256, 4096, 16, 128), "memory_stall"),
        # a step a tile: 64 x 16 results of 32 bits are 128 words
        (Machine(64, 16, 4, 8, 256, 64, 16), (4, 2, 640, 4, 16, 4), "drain"),
        # two cycles a group, eight of the dequantiser
        (Machine(8, 4, 4, 8, 256, 64, 16), (4, 2, 80, 400, 4, 4), "dequantisation"),
        (Machine(8, 4, 4, 8, 256, 64, 16), (4, 2, 80, 4096, 4, 128), "compute"),
    ],
)
def test_what_bounds_a_machine(machine: Machine, shape: tuple[int, ...], cause: str) -> None:
    code_bits, terms, outputs, inputs, tokens, group = shape
    job = matmul_counts(machine, code_bits, terms, outputs, inputs, tokens, group)
    rungs = closed_form(job, machine.scale_bits)._asdict()
    stalls = {k: v for k, v in rungs.items() if k in ("memory_stall", "drain", "dequantisation")}
    assert max(stalls, key=lambda name: stalls[name]) == cause or cause == "compute"
    assert (rungs["compute"] > 0.9 * sum(rungs.values())) == (cause == "compute")


def test_memory_bound_streams_a_word_a_cycle() -> None:
    machine = Machine(64, 16, 4, 8, 256, 64, 16)
    job = matmul_counts(machine, 3, 2, outputs=640, inputs=4096, tokens=16, group_size=128)
    words = 10 * (4 + 32 * 4 + 1024 * 3)
    cycles = schedule(machine, [job]).sum()
    assert words < cycles < 1.15 * words  # the load of 4096 words of activations before
    (causes,) = schedule(machine, [job])
    streaming = causes[CAUSES.index("pipeline_fill") : CAUSES.index("output_stall") + 1].sum()
    assert streaming == words + 2  # the last step's terms follow its last word


def test_inputs_beyond_the_buffer_are_cut() -> None:
    sizes = {"code_bits": 4, "terms": 2, "outputs": 64, "tokens": 8, "group_size": 128}
    buffer = 4 * 4 * 2 * 40  # 40 steps: a group of 32 and no second
    cut = by_function(SMALL, inputs=300, activation_buffer_bytes=buffer, **sizes)
    pieces = [by_function(SMALL, inputs=size, **sizes) for size in (128, 128, 44)]
    rungs = slice(None, cut._fields.index("busy_cycles"))
    assert sum(cut[rungs]) == sum(sum(piece[rungs]) for piece in pieces)
    assert cut.weight_bits_moved == sum(piece.weight_bits_moved for piece in pieces)
    longest = by_function(SMALL, inputs=2 * MAX_INPUTS, **sizes)
    half = by_function(SMALL, inputs=MAX_INPUTS, **sizes)
    assert sum(longest[rungs]) == 2 * sum(half[rungs])


def test_whole_weights_are_packed_as_bits() -> None:
    """72 rows of 4 bits: 9 words a 8 steps, where planes would take 2 words a step."""
    counts = by_function(
        SMALL._replace(rows=72, columns=16, lanes=1),
        code_bits=4, terms=1, outputs=72, inputs=1024, tokens=16, group_size=128,
    )  # fmt: skip
    header_words = -(-72 * 16 // 256)
    assert counts.weight_bits_moved == 256 * (2 + 9 * header_words + 8 * 128 * 288 // 256)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_stalls_come_as_often_as_said(probability: float, seed: int) -> None:
    threshold = round(probability * 2**32)
    draws = np.array([[stalled(t, c, seed, threshold) for c in range(3)] for t in range(20_000)])
    assert np.abs(draws.mean(axis=0) - probability).max() < 0.015
    if 0 < probability < 1:
        assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
        assert abs(np.corrcoef(draws[1:, 1], draws[:-1, 1])[0, 1]) < 0.03


def test_the_pattern_of_stalls_is_fixed() -> None:
    """The cocotb benches and the C++ harness compute the same hash."""
    drawn = "".join(str(int(stalled(t, 1, 7, 1 << 31))) for t in range(32))
    assert drawn == "01001001101001001111110000000011"


def test_stalls_cost_cycles() -> None:
    job = matmul_counts(SMALL, 8, 4, outputs=64, inputs=512, tokens=4, group_size=128)
    for seed in range(5):
        cycles = [schedule(SMALL, [job], Memory(8, p << 24, seed)).sum() for p in (0, 25, 128, 230)]
        assert cycles == sorted(cycles)
        assert cycles[-1] > 2 * cycles[0]


@pytest.mark.parametrize("memory", [Memory(latency=0), Memory(threshold=1 << 32)])
def test_an_impossible_memory_is_refused(memory: Memory) -> None:
    with pytest.raises(SpecError):
        schedule(SMALL, [matmul_counts(SMALL, 4, 2, 8, 8, 4, 8)], memory)
