"""The kernel equals its readable twin; programs that cannot run say which instruction is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.sim.compiler.instruction import Instruction, Program, Queue
from plait.sim.timeline import Timeline, exposed, run
from plait.sim.timeline.twin import simulate

LD, ST, MM, MV, MISC, SYS = Queue
IN_EIGHTHS = 8  # durations are multiples of 1/8, so that sums are exact and ties are common


def program_of(*rows: tuple[Queue, list[Queue], list[Queue]]) -> Program:
    def bits(queues: list[Queue]) -> int:
        return sum(1 << queue for queue in queues)

    return Program.of([Instruction(q, wait=bits(w), release=bits(r)) for q, w, r in rows])


def random_program(seed: int, size: int) -> tuple[Program, np.ndarray]:
    """Tokens are given before or after they are taken, and every one is taken."""
    rng = np.random.default_rng(seed)
    queues = [Queue(int(q)) for q in rng.integers(0, 6, size)]
    wait, release = [0] * size, [0] * size
    for _ in range(3 * size):
        giver, taker = sorted(int(i) for i in rng.integers(0, size, 2))
        a, b = queues[giver], queues[taker]
        if a != b and not release[giver] >> b & 1 and not wait[taker] >> a & 1:
            release[giver] |= 1 << b
            wait[taker] |= 1 << a
    rows = zip(queues, wait, release, strict=True)
    program = Program.of([Instruction(q, wait=w, release=r) for q, w, r in rows])
    return program, rng.integers(0, 40, size) / IN_EIGHTHS


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 120), st.sampled_from([0.0, 0.5]))
def test_kernel_equals_twin(seed: int, size: int, issue: float) -> None:
    program, durations = random_program(seed, size)
    twin = simulate(program, durations.tolist(), issue)
    try:
        line = run(program, durations, issue)
    except SpecError:
        # tokens of a pair are taken in another order than they were paired: both must stop
        assert None in twin
        return
    assert list(zip(line.starts.tolist(), line.ends.tolist(), strict=True)) == twin


def test_twin_and_kernel_over_many_programs_run_to_the_end() -> None:
    """Most random programs run: the property above is not empty."""
    ran = 0
    for seed in range(40):
        program, durations = random_program(seed, 60)
        ran += None not in simulate(program, durations.tolist())
    assert ran >= 20


def test_the_worked_example() -> None:
    """Double buffering by hand: three loads, three products, two buffers."""
    program = program_of(
        (LD, [], [MV]), (MV, [LD], [LD]), (LD, [], [MV]), (MV, [LD], []), (LD, [MV], [MV]),
        (MV, [LD], [ST]), (ST, [MV], []),
    )  # fmt: skip
    line = run(program, np.array([1.0, 4.0, 1.0, 4.0, 1.0, 4.0, 2.0]))
    assert line.starts.tolist() == [0, 1, 1, 5, 5, 9, 13]
    assert line.total == 15
    assert line.busy() == {"ld": 3, "st": 2, "mm": 0, "mv": 12, "misc": 0, "sys": 0}
    assert line.utilisation()["mv"] == 12 / 15
    assert exposed(line, [[MV], [LD], [ST]]).tolist() == [12, 1, 2, 0]


def test_a_deadlock_names_the_instruction() -> None:
    stuck = program_of((LD, [MV], [MV]), (MV, [LD], [LD]))
    with pytest.raises(SpecError, match=r"instruction 0 \(LD\).*token of MV.*deadlock of LD, MV"):
        run(stuck, np.ones(2))


def test_a_token_that_nobody_gives() -> None:
    with pytest.raises(SpecError, match=r"instruction 1 \(MV\).*for a token of LD.*no instruction"):
        run(program_of((LD, [], []), (MV, [LD], [])), np.ones(2))


def test_a_token_that_nobody_takes() -> None:
    with pytest.raises(SpecError, match=r"instruction 1 \(LD\): gives a token to MV.*2 given, 1"):
        run(program_of((LD, [], [MV]), (LD, [], [MV]), (MV, [LD], [])), np.ones(3))


@pytest.mark.parametrize("durations", [np.ones(1), np.array([1.0, -1.0]), np.array([1.0, np.nan])])
def test_durations_are_checked(durations: np.ndarray) -> None:
    with pytest.raises(SpecError, match="durations"):
        run(program_of((LD, [], []), (ST, [], [])), durations)


def test_an_unknown_queue_and_a_mask_of_its_own() -> None:
    with pytest.raises(SpecError, match=r"instruction 1 \(queue 9\): unknown queue"):
        run(Program({"queue": np.array([0, 9], dtype=np.uint8)}), np.ones(2))
    own = Program.of([Instruction(LD, wait=1)])
    with pytest.raises(SpecError, match=r"instruction 0 \(LD\): wait names its own queue"):
        run(own, np.ones(1))


def test_an_empty_program_takes_no_time() -> None:
    line = run(Program({"queue": np.zeros(0, dtype=np.uint8)}), np.zeros(0))
    assert isinstance(line, Timeline)
    assert line.total == 0
    assert line.utilisation()["ld"] == 0
